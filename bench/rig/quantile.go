package rig

import (
	"fmt"
	"slices"
	"time"
)

func quantiles(took []time.Duration) (p50, p99 time.Duration) {
	sorted := slices.Sorted(slices.Values(took))
	return sorted[len(sorted)/2], sorted[len(sorted)*99/100]
}

type statusError struct {
	url    string
	code   int
	answer string
}

func (e *statusError) Error() string { return fmt.Sprintf("%s: %d %s", e.url, e.code, e.answer) }
