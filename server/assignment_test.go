package server_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestMassAssignment: no body takes a member that is not its own, be it one
// that the document has elsewhere (id, status, signingSecret, accountId…) or
// that the inside has.
func TestMassAssignment(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	c := loadContract(t)
	names := map[string]bool{"account": true, "role": true, "admin": true, "secret": true, "Status": true, "__proto__": true, "seq": true, "state": true, "dueAt": true}
	for _, schema := range c.doc.Components.Schemas {
		for name := range schema.Value.Properties {
			names[name] = true
		}
	}
	bodies := map[string]string{
		"createWebhook": `{"callbackUrl":"` + goodURL + `"%s}`, "replaceWebhook": `{"callbackUrl":"` + goodURL + `"%s}`,
		"createOperationsWebhook": `{"callbackUrl":"` + goodURL + `"%s}`, "replaceOperationsWebhook": `{"callbackUrl":"` + goodURL + `"%s}`,
		"createApiKey":       `{"sha256":"` + strings.Repeat("0a", 32) + `"%s}`,
		"createConsoleLink":  `{"minutes":5%s}`,
		"sendTestEvent":      `{"sample":"RCS_READ"%s}`,
		"startReplay":        `{"messageId":"m-1"%s}`,
		"startAccountReplay": `{"filters":{"messageId":"m-1"}%s}`,
		"sendEvents":         `{"events":[` + event("evt_1", id) + `]%s}`,
		"sendEvents 2":       `{"events":[` + strings.TrimSuffix(event("evt_1", id), "}") + `%s}]}`,
	}
	for _, o := range c.operations(t) {
		if o.op.RequestBody == nil {
			continue
		}
		for _, variant := range []string{o.id, o.id + " 2"} {
			body, ok := bodies[variant]
			if !ok && variant == o.id {
				t.Fatalf("%s takes a body that this test does not know", o.id)
			}
			if got := s.do(call{method: o.method, path: o.path, apiKey: key, platform: true, body: fmt.Sprintf(body, "")}); ok && got.status == http.StatusBadRequest {
				t.Fatalf("%s without anything added: got 400, so that this test shows nothing: %s", variant, got.body)
			}
			for _, name := range slices.Sorted(maps.Keys(names)) {
				if !ok || takes(variant, o, name) {
					continue
				}
				for _, value := range []string{"null", `"x"`, "1", "true", "{}"} {
					t.Run(variant+"/"+name+"/"+value, func(t *testing.T) {
						extra := fmt.Sprintf(`,"%s":%s`, name, value)
						s.do(call{method: o.method, path: o.path, apiKey: key, platform: true, body: fmt.Sprintf(body, extra)}).want(t, http.StatusBadRequest)
					})
				}
			}
		}
	}
}

// takes reports whether the name is a member of the body, or of its events.
func takes(variant string, o exampleOperation, name string) bool {
	schema := o.op.RequestBody.Value.Content["application/json"].Schema.Value
	if strings.HasSuffix(variant, " 2") {
		schema = schema.Properties["events"].Value.Items.Value
	}
	return schema.Properties[name] != nil
}

// TestKeysAreComparedInConstantTime looks at the code: an account's key is found
// by its SHA-256, so how long the search takes tells of a digest that the caller
// cannot steer; the platform's is compared by crypto/subtle. No other comparison
// meets a credential.
func TestKeysAreComparedInConstantTime(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "authenticate.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	uses := map[string][]string{} // by function: what it calls and compares
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				uses[f.Name.Name] = append(uses[f.Name.Name], n.Sel.Name)
			case *ast.BinaryExpr:
				if (n.Op == token.EQL || n.Op == token.NEQ) && !plain(n.X) && !plain(n.Y) {
					t.Errorf("%s compares two values with %s; credentials are compared by crypto/subtle", f.Name.Name, n.Op)
				}
			}
			return true
		})
	}
	for function, want := range map[string][]string{
		"authenticateAccount":  {"HashKey", "APIKeyByHash"},
		"authenticatePlatform": {"HashKey", "ConstantTimeCompare"},
	} {
		for _, name := range want {
			if !slices.Contains(uses[function], name) {
				t.Errorf("%s does not use %s", function, name)
			}
		}
		for _, name := range []string{"Equal", "Compare", "DeepEqual", "HasPrefix"} {
			if slices.Contains(uses[function], name) {
				t.Errorf("%s uses %s, which ends at the first difference", function, name)
			}
		}
	}
}

// plain: a constant or nil.
func plain(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		return true
	case *ast.Ident:
		return e.Name == "nil"
	}
	return false
}
