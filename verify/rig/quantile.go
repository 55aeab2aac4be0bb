package rig

import (
	"fmt"
	"slices"
	"time"
)

// Quantiles are the median, the 99th percentile and the greatest.
func Quantiles(took []time.Duration) (p50, p99, most time.Duration) {
	sorted := slices.Sorted(slices.Values(took))
	return sorted[len(sorted)/2], sorted[len(sorted)*99/100], sorted[len(sorted)-1]
}

type statusError struct {
	url    string
	code   int
	answer string
}

func (e *statusError) Error() string { return fmt.Sprintf("%s: %d %s", e.url, e.code, e.answer) }
