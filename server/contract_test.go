package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server"
	"github.com/recapito/recapito/store"
)

// contract is the document, as a judge of answers.
type contract struct{ doc *openapi3.T }

// parsed is the document of this package's tests. None of them changes it.
var parsed = sync.OnceValues(func() (*openapi3.T, error) { return openapi3.NewLoader().LoadFromFile("../openapi.yaml") })

func loadContract(tb testing.TB) *contract {
	tb.Helper()
	registerLines()
	doc, err := parsed()
	if err != nil {
		tb.Fatal(err)
	}
	return &contract{doc}
}

// check returns what is wrong with an answer: anything that the document does
// not describe, and anything that holds for every answer.
func (c *contract) check(method, path string, status int, h http.Header, body []byte) error {
	for _, name := range []string{"X-Request-Id", "Cache-Control"} {
		if h.Get(name) == "" {
			return fmt.Errorf("no header %s", name)
		}
	}
	if bytes.Contains(body, []byte(`\u0026`)) || bytes.Contains(body, []byte(`\u003`)) {
		return errors.New("escaped for HTML")
	}
	if method == http.MethodHead || method == http.MethodOptions && status < 400 {
		return checkEmpty(body)
	}
	if status >= 400 {
		if h.Get("Content-Type") != "application/problem+json" {
			return fmt.Errorf("an error as %q", h.Get("Content-Type"))
		}
		if !bytes.Contains(body, []byte(`"requestId":"`+h.Get("X-Request-Id")+`"`)) {
			return errors.New("a problem without its request's id")
		}
		if err := c.checkProblem(status, body); err != nil {
			return err
		}
	}
	route := c.route(method, path)
	if route == nil {
		return checkRouting(status, h)
	}
	if status == http.StatusNoContent {
		if err := checkEmpty(body); err != nil {
			return err
		}
	}
	if status == http.StatusOK && h.Get("Content-Type") == linesType {
		if err := c.checkLines(route.Operation.OperationID, body); err != nil {
			return err
		}
	}
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: &http.Request{Method: method}, Route: route,
		},
		Status: status, Header: h, Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	return openapi3filter.ValidateResponse(context.Background(), in.SetBodyBytes(body))
}

const linesType = "application/x-ndjson"

var registerLines = sync.OnceFunc(func() { openapi3filter.RegisterBodyDecoder(linesType, openapi3filter.FileBodyDecoder) })

// lineSchemas are what a line is, by operation.
var lineSchemas = map[string]string{"listDeliveries": "Delivery", "listAttempts": "DeliveryAttempt"}

// checkLines holds each line against its schema. The last may be a cursor.
func (c *contract) checkLines(operation string, body []byte) error {
	text, ended := bytes.CutSuffix(body, []byte("\n"))
	if len(body) == 0 {
		return nil
	}
	if !ended {
		return errors.New("the last line has no end")
	}
	all := bytes.Split(text, []byte("\n"))
	for i, text := range all {
		var line map[string]any
		if err := json.Unmarshal(text, &line); err != nil {
			return err
		}
		if _, is := line["nextCursor"]; is && i == len(all)-1 && len(line) == 1 {
			continue
		}
		if err := c.doc.Components.Schemas[lineSchemas[operation]].Value.VisitJSON(line); err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return nil
}

// checkProblem is for every path, known or not.
func (c *contract) checkProblem(status int, body []byte) error {
	var problem any
	if err := json.Unmarshal(body, &problem); err != nil {
		return err
	}
	if err := c.doc.Components.Schemas["Problem"].Value.VisitJSON(problem); err != nil {
		return fmt.Errorf("a problem that is none: %w", err)
	}
	if got := problem.(map[string]any)["status"]; got != float64(status) {
		return fmt.Errorf("a problem of status %v", got)
	}
	return nil
}

func checkEmpty(body []byte) error {
	if len(body) > 0 {
		return errors.New("a body where there is none")
	}
	return nil
}

// checkRouting is for what meets no operation.
func checkRouting(status int, h http.Header) error {
	switch {
	case status == http.StatusNotFound:
	case status == http.StatusMethodNotAllowed && h.Get("Allow") != "":
	default:
		return errors.New("no such operation, but neither 404 nor 405 with Allow")
	}
	return nil
}

// route finds the operation of a request; nil: there is none.
func (c *contract) route(method, path string) *routers.Route {
	for template, item := range c.doc.Paths.Map() {
		op := item.GetOperation(method)
		if op != nil && matches(template, path) {
			return &routers.Route{Spec: c.doc, Path: template, PathItem: item, Method: method, Operation: op}
		}
	}
	return nil
}

func matches(template, path string) bool {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	return slices.EqualFunc(want, got, func(w, g string) bool {
		return w == g || strings.HasPrefix(w, "{") && g != ""
	})
}

// operations lists every operation of the document with an example path.
func (c *contract) operations(t testing.TB) []exampleOperation {
	t.Helper()
	var all []exampleOperation
	for template, item := range c.doc.Paths.Map() {
		path := strings.NewReplacer("{accountId}", "acc_x", "{keyId}", "key_x", "{eventId}", "evt_x", "{replayId}", "rpl_x").Replace(template)
		for method, op := range item.Operations() {
			all = append(all, exampleOperation{op.OperationID, method, path, op})
		}
	}
	slices.SortFunc(all, func(a, b exampleOperation) int { return strings.Compare(a.id, b.id) })
	if len(all) == 0 {
		t.Fatal("operations: got none, want some")
	}
	return all
}

type exampleOperation struct {
	id, method, path string
	op               *openapi3.Operation
}

// TestContractCheckCatches shows that the judge of all other tests judges.
func TestContractCheckCatches(t *testing.T) {
	c := loadContract(t)
	h := http.Header{"X-Request-Id": {"r"}, "Cache-Control": {"no-store"}}
	with := func(pairs ...string) http.Header {
		out := maps.Clone(h)
		for i := 0; i < len(pairs); i += 2 {
			out.Set(pairs[i], pairs[i+1])
		}
		return out
	}
	problem := with("Content-Type", "application/problem+json")
	plain := with("Content-Type", jsonType)
	webhook := `{"id":"wh_1","callbackUrl":"https://a.example/","status":"ACTIVE","createdAt":"2026-11-20T09:00:00Z","updatedAt":"2026-11-20T09:00:00Z","secrets":[{"until":null}]}`
	notFound := `{"type":"about:blank","title":"Not Found","status":404,"code":"WEBHOOK_NOT_FOUND","requestId":"r"}`
	refused := func(status int) string { return strings.Replace(notFound, "404", strconv.Itoa(status), 1) }
	for _, tt := range []struct {
		name, method, path string
		status             int
		header             http.Header
		body               string
		want               string // part of the error; empty: none
	}{
		{"as described", "GET", webhookPath, 200, plain, webhook, ""},
		{"problem as described", "GET", webhookPath, 404, problem, notFound, ""},
		{"status not documented", "GET", webhookPath, 403, problem, refused(403), "status is not supported"},
		{"body not as described", "GET", webhookPath, 200, plain, `{"id":"wh_1"}`, "callbackUrl"},
		{"enum not as described", "GET", webhookPath, 200, plain, strings.Replace(webhook, "ACTIVE", "Active", 1), "allowed values"},
		{"content type not described", "GET", webhookPath, 200, with("Content-Type", "text/plain"), webhook, "Content-Type"},
		{"error not a problem", "GET", webhookPath, 404, plain, notFound, "an error as"},
		{"problem of another status", "GET", webhookPath, 401, problem, notFound, "a problem of status 404"},
		{"problem without a code", "GET", "/nowhere", 404, problem, strings.Replace(notFound, `,"code":"WEBHOOK_NOT_FOUND"`, "", 1), "code"},
		{"problem with a code not listed", "GET", "/nowhere", 404, problem, strings.Replace(notFound, "WEBHOOK", "HOOK", 1), "allowed values"},
		{"no request id in a problem", "GET", webhookPath, 404, problem, `{"type":"about:blank","title":"Not Found","status":404}`, "without its request's id"},
		{"required header missing", "GET", webhookPath, 401, problem, refused(401), "WWW-Authenticate"},
		{"no request id", "GET", webhookPath, 200, http.Header{"Cache-Control": {"no-store"}}, webhook, "X-Request-Id"},
		{"204 with a body", "DELETE", webhookPath, 204, h, "x", "a body where there is none"},
		{"no such operation", "GET", "/nowhere", 200, plain, "{}", "no such operation"},
		{"405 without Allow", "PATCH", webhookPath, 405, problem, refused(405), "no such operation"},
		{"escaped for HTML", "GET", webhookPath, 200, plain, `{"a":"\u0026"}`, "escaped"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := c.check(tt.method, tt.path, tt.status, tt.header, []byte(tt.body))
			if tt.want == "" && err != nil {
				t.Fatalf("error: got %v, want none", err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Fatalf("error: got %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestEveryOperationRefusesWithoutItsCredential(t *testing.T) {
	keys := 0
	s := start(t, func(c *server.Config) { c.OnKey = func(context.Context) { keys++ } })
	id, key := s.account()
	for _, o := range loadContract(t).operations(t) {
		credentials := map[string]map[string]string{
			"none":               {},
			"empty key":          {"X-API-Key": " "},
			"unknown key":        {"X-API-Key": store.NewKey()},
			"malformed key":      {"X-API-Key": store.KeyPrefix + "short"},
			"unknown foreign":    {"X-API-Key": "no-such-key"},
			"wrong platform key": {"Authorization": "Bearer wrong"},
			"wrong scheme":       {"Authorization": "Basic " + platformKey},
			"no token":           {"Authorization": "Bearer"},
			"spaces for a token": {"Authorization": "Bearer  "},
			"the other scheme":   {"X-API-Key": key, "Authorization": "Bearer " + platformKey},
		}
		if _, account := (*o.op.Security)[0]["AccountKey"]; account {
			delete(credentials["the other scheme"], "X-API-Key")
			right := "Bearer " + platformKey
			credentials["an account alone"] = map[string]string{"X-Account-Id": id}
			credentials["an account and a wrong platform key"] = map[string]string{"X-Account-Id": id, "Authorization": "Bearer wrong"}
			credentials["an account and its key"] = map[string]string{"X-Account-Id": id, "X-API-Key": key}
			credentials["an account and both keys"] = map[string]string{"X-Account-Id": id, "X-API-Key": key, "Authorization": right}
			credentials["no such account"] = map[string]string{"X-Account-Id": "nobody", "Authorization": right}
			credentials["no account"] = map[string]string{"X-Account-Id": " ", "Authorization": right}
		} else {
			delete(credentials["the other scheme"], "Authorization")
		}
		var first string
		for _, name := range slices.Sorted(maps.Keys(credentials)) {
			t.Run(o.id+"/"+name, func(t *testing.T) {
				got := s.do(call{method: o.method, path: o.path, header: credentials[name]}).want(t, http.StatusUnauthorized)
				said := got.anonymous() + got.header.Get("WWW-Authenticate")
				if first == "" {
					first = said
				}
				if said != first {
					t.Errorf("answer: got %s, want the same for every bad credential: %s", said, first)
				}
			})
		}
	}
	if keys != 0 {
		t.Errorf("requests with a valid key: told of %d, want none", keys)
	}
	s.do(call{method: "GET", path: webhookPath, apiKey: key}).want(t, http.StatusNotFound)
	s.do(call{method: "GET", path: "/accounts/none", platform: true}).want(t, http.StatusNotFound)
	if keys != 2 {
		t.Errorf("requests with a valid key: told of %d, want 2", keys)
	}
}

// TestRefusesBeforeTheBody sends a head that announces a body, and no body.
func TestRefusesBeforeTheBody(t *testing.T) {
	s := start(t)
	for _, o := range loadContract(t).operations(t) {
		for _, length := range []string{"Content-Length: 100", "Content-Length: 1048576", "Transfer-Encoding: chunked"} {
			t.Run(o.id+"/"+length, func(t *testing.T) {
				got := s.head(t, o.method, o.path, length, "Content-Type: application/json")
				if got != http.StatusUnauthorized {
					t.Errorf("status: got %d, want 401", got)
				}
			})
		}
	}
}

// head sends a request's head alone and returns the status of the answer.
func (s *service) head(t *testing.T, method, path string, lines ...string) int {
	t.Helper()
	lines = append([]string{method + " " + path + " HTTP/1.1", "Host: recapito.example"}, lines...)
	return s.raw(t, strings.Join(lines, "\r\n")+"\r\n\r\n").status
}

// raw sends bytes on a connection of their own and reads one answer.
func (s *service) raw(t *testing.T, request string) answer {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("read the answer: got %v, want one before the body is sent", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func TestNewRefusesADocumentThatLosesChecks(t *testing.T) {
	text := string(spec(t))
	for _, tt := range []struct{ name, old, new, want string }{
		{"operation renamed", "operationId: deleteWebhook", "operationId: DeleteWebhook", "routes without authentication"},
		{"no security", "security: [{PlatformKey: []}]", "security: []", "neither an account's nor the platform's"},
		{"either of two", "security: [{PlatformKey: []}]", "security: [{PlatformKey: []}, {}]", "neither an account's nor the platform's"},
		{"an account's, or anybody's", "{PlatformKey: [], AccountOfPlatform: []}", "{AccountOfPlatform: []}", "neither an account's nor the platform's"},
		{"an account's alone", "security: [{AccountKey: []}, {PlatformKey: [], AccountOfPlatform: []}]", "security: [{AccountKey: []}]", "neither an account's nor the platform's"},
		{"no operation for a route", "  /events:\n", "  /other-events:\n", "not those of the document"},
		{"not valid", "title: Recapito", "name: Recapito", "document"},
		{"slow to validate", "openapi: 3.0.3", "openapi: 3.1.0", "OpenAPI 3.1.0"},
		{"bad pattern", `'^[A-Za-z0-9_-]{1,64}$'`, `'^(?!x)$'`, "document"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changed := strings.ReplaceAll(text, tt.old, tt.new)
			if changed == text {
				t.Fatalf("%q is not in the document any more", tt.old)
			}
			_, err := server.New(server.Config{
				Store: acceptAll{}, Spec: []byte(changed), PlatformKeys: keys("k"), CheckURL: checkURL,
			})
			if got := fmt.Sprint(err); !strings.Contains(got, tt.want) {
				t.Errorf("error: got %s, want one with %q", got, tt.want)
			}
		})
	}
}

func TestNewRefusesAnIncompleteConfig(t *testing.T) {
	whole := server.Config{Store: acceptAll{}, Spec: spec(t), PlatformKeys: keys("k"), CheckURL: checkURL}
	for _, tt := range []struct {
		name  string
		spoil func(*server.Config)
		want  string
	}{
		{"no store", func(c *server.Config) { c.Store = nil }, "no store"},
		{"no check", func(c *server.Config) { c.CheckURL = nil }, "no check of callback URLs"},
		{"no platform key", func(c *server.Config) { c.PlatformKeys = keys() }, "no platform key"},
		{"no document", func(c *server.Config) { c.Spec = nil }, "document"},
		{"base path without a slash", func(c *server.Config) { c.BasePath = "api" }, "base path"},
		{"base path with a slash at the end", func(c *server.Config) { c.BasePath = "/api/" }, "base path"},
		{"rate limit below zero", func(c *server.Config) { c.RateLimit = -1 }, "rate limit"},
		{"rate limit that is no number", func(c *server.Config) { c.RateLimit = math.NaN() }, "rate limit"},
		{"CORS origin with a path", func(c *server.Config) { c.CORSOrigins = []string{"https://a.example/"} }, "want scheme://host"},
		{"CORS origin without a scheme", func(c *server.Config) { c.CORSOrigins = []string{"a.example"} }, "want scheme://host"},
		{"CORS origin with a wildcard host", func(c *server.Config) { c.CORSOrigins = []string{"*", "https://*.example"} }, "want scheme://host"},
		{"base path with a parameter", func(c *server.Config) { c.BasePath = "/:x" }, "base path"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := whole
			tt.spoil(&cfg)
			if _, err := server.New(cfg); !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("error: got %v, want one with %q", err, tt.want)
			}
		})
	}
}

// TestEveryOperationIsServed asks for each operation with its credential and
// finds it.
func TestEveryOperationIsServed(t *testing.T) {
	s := start(t)
	_, key := s.account()
	for _, o := range loadContract(t).operations(t) {
		t.Run(o.id, func(t *testing.T) {
			got := s.do(call{method: o.method, path: o.path, apiKey: key, platform: true})
			routing := gen.Problem{Status: int32(got.status)}
			if got.status == http.StatusNotFound {
				routing = decode[gen.Problem](t, got)
			}
			if got.status == http.StatusMethodNotAllowed || routing.Detail != nil && *routing.Detail == "There is no such path." {
				t.Errorf("answer: got %d %s, want one of the operation", got.status, got.body)
			}
		})
	}
}
