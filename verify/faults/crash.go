package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

// crash: the store over a disk of our own whose power is cut and which fails,
// by its tests: this needs neither root nor Linux's device mapper.
func crash(l *lab) (found string, err error) {
	out, err := exec.Command("go", "test", "-count=1", "-v", "-timeout=1h", "-run=PowerCut|DiskErrors",
		"github.com/recapito/recapito/store/sqlite", "-crash.rounds", strconv.Itoa(l.rounds(200, 20))).CombinedOutput()
	l.detail("%s", out)
	if err != nil {
		return "", fmt.Errorf("%w:\n%s", err, out)
	}
	cuts := regexp.MustCompile(`(\d+ power cuts, \d+ events), in`).FindSubmatch(out)
	if cuts == nil {
		return "", fmt.Errorf("the tests do not say what they did:\n%s", out)
	}
	return string(cuts[1]) + ", 0 lost", nil
}
