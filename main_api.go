package main

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/recapito/recapito/gen/client"
)

// answered makes an error of an answer that was not hoped for.
func answered(r *http.Response, body []byte) error {
	var problem client.Problem
	if json.Unmarshal(body, &problem) == nil && orEmpty(problem.Detail) != "" {
		return fmt.Errorf("the server answered %s: %s", r.Status, *problem.Detail)
	}
	return fmt.Errorf("the server answered %s", r.Status)
}

// orEmpty is the text, or none.
func orEmpty(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// orNone is the list, or an empty one.
func orNone[T any](list *[]T) []T {
	if list == nil {
		return nil
	}
	return *list
}
