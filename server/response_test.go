package server

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUnescapeHTML(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`{}`, `{}`},
		{`"a\u0026b"`, `"a&b"`},
		{`"\u003cb\u003e"`, `"<b>"`},
		{`"\\u0026"`, `"\\u0026"`},
		{`"\\\u0026"`, `"\\&"`},
		{`"\u0000\u0026\u2028\n"`, `"\u0000&\u2028\n"`},
		{`"\u0026`, `"&`},
		{`"\u00`, `"\u00`},
		{`"\u0026\`, `"&\`},
	} {
		t.Run(tt.in, func(t *testing.T) {
			if got := string(unescapeHTML([]byte(tt.in))); got != tt.want {
				t.Errorf("unescaped: got %s, want %s", got, tt.want)
			}
		})
	}
}

// FuzzUnescapeHTML: the text stays the same value.
func FuzzUnescapeHTML(f *testing.F) {
	f.Add(`a & b <c> \u0026 \\`)
	f.Fuzz(func(t *testing.T, s string) {
		text, err := json.Marshal(map[string]string{s: s})
		if err != nil {
			t.Skip()
		}
		var want, got map[string]string
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		out := unescapeHTML(text)
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("value (-want +got):\n%s", diff)
		}
		for _, escaped := range []string{`\u0026`, `\u003c`, `\u003e`} {
			if bytes.Contains(bytes.ReplaceAll(out, []byte(`\\`), nil), []byte(escaped)) {
				t.Errorf("unescaped: got %s, want no %s", out, escaped)
			}
		}
	})
}
