package server_test

import (
	"errors"
	"os"
	"strings"
	"testing"
)

const platformKey = "test-platform-key"

// spec is the document that the server answers.
func spec(tb testing.TB) []byte {
	tb.Helper()
	text, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// checkURL stands in for the rules of package egress.
func checkURL(raw string) error {
	if !strings.HasPrefix(strings.ToLower(raw), "https://") {
		return errors.New("must be an https URL")
	}
	return nil
}
