package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// What belongs to another account is answered like what never existed: byte by
// byte but for the request's id and the time.
func TestAnotherAccountsDeliveryDoesNotExist(t *testing.T) {
	svc := serve(t, build(t, false), filepath.Join(t.TempDir(), "recapito.db"))
	owner, other := svc.account("owner"), svc.account("other")
	svc.api("POST", hook, owner, callback("https://example.com/status"))
	feed(t, svc, 1, [][]string{{event("owner", "evt_of_owner", "m1", "SENT")}})
	if code, answer := svc.api("GET", hook+"/deliveries/evt_of_owner", owner, ""); code != 200 {
		t.Fatalf("the owner's own delivery: %d %s, want 200", code, answer)
	}
	varying := regexp.MustCompile(`req_[a-z0-9]{26}|Date: [^\r]*`)
	raw := func(key, path string) string {
		c := svc.dial()
		c.send("GET " + path + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-API-Key: " + key + "\r\n\r\n")
		var all bytes.Buffer
		if _, err := all.ReadFrom(c); err != nil {
			t.Fatal(err)
		}
		return varying.ReplaceAllString(all.String(), "…")
	}
	for foreign, unknown := range map[string]string{
		hook + "/deliveries/evt_of_owner":          hook + "/deliveries/evt_of_nobody",
		hook + "/deliveries?messageId=m1":          hook + "/deliveries?messageId=m0",
		hook + "/deliveries?state=PENDING&limit=1": hook + "/deliveries?state=FAILED&limit=1",
	} {
		if got, want := raw(other, foreign), raw(other, unknown); got != want || got == "" {
			t.Errorf("%s as another account:\n%s\nwant the answer to %s:\n%s", foreign, got, unknown, want)
		}
	}
	for _, method := range []string{"GET", "DELETE"} {
		if code, answer := svc.api(method, hook, other, ""); code != 404 {
			t.Errorf("%s of an account without a webhook: %d %s, want 404", method, code, answer)
		}
	}
}

// Callbacks go where the operator lets them, and a connection is as old as the operator says.
func TestOperatorLimitsCallbacks(t *testing.T) {
	ca := newAuthority(t)
	to := newSink(t, ca)
	_, port, err := net.SplitHostPort(to.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	svc := serve(t, build(t, false), filepath.Join(t.TempDir(), "recapito.db"), "--callback-ca", ca.file, againSoon,
		"--deny-network", "127.0.0.2/32", "--callback-port", port, "--callback-connection-life", "1ns")
	key := svc.account("acc")
	for url, why := range map[string]string{
		"https://127.0.0.2:" + port + "/": "its address is in a network that this service does not call",
		"https://127.0.0.1/":              "its port 443 is not one that this service calls (" + port + ")",
	} {
		if code, answer := svc.api("POST", hook, key, callback(url)); code != 400 || !strings.Contains(string(answer), why) {
			t.Errorf("POST of %s: %d %s, want 400: %s", url, code, answer, why)
		}
	}
	svc.register(to, "acc", key)
	for i := range 3 {
		feed(t, svc, 1, [][]string{{event("acc", fmt.Sprint("evt_", i), "m", "SENT")}})
		eventually(t, "the callback", func() bool { return metric(t, svc, `recapito_deliveries{state="DELIVERED"}`) == float64(i+1) })
	}
	if reused := metric(t, svc, "recapito_connections_reused_total"); reused != 0 {
		t.Errorf("%v of three requests went on a connection that was there, want none: it is too old", reused)
	}
}

// evil breaks out of lines, terminals and headers, if anything lets it.
const evil = "evil\r\nX-Evil: 1\r\n\r\n\x1b[31mevil\x1b]0;evil\x07\u009b31m\u2028evil"

// Whatever callers and receivers send, a log line stays a line of printable
// text, and no header is theirs.
func TestNothingIsInjected(t *testing.T) {
	bin := build(t, false)
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			ca := newAuthority(t)
			to := newSink(t, ca)
			to.answer = answerRaw("HTTP/1.1 \x1b[31mevil\u009b31m\r 500 " + evil)
			svc := serve(t, bin, filepath.Join(t.TempDir(), "recapito.db"), "--callback-ca", ca.file, "--log-format", format, "--log-level", "debug")
			key := svc.account("acc")
			svc.register(to, "acc", key)
			for _, request := range injections(key) {
				svc.wantNoInjection(t, request)
			}
			feed(t, svc, 1, [][]string{{event("acc", "e1", "m\u009b31m", "SENT")}})
			eventually(t, "the attempt in the log", func() bool { return strings.Contains(svc.log.String(), "RESPONSE_INVALID") })
			svc.terminate()
			wantCleanLog(t, format, svc.log.String())
		})
	}
}

// answerRaw answers with these bytes, and no more.
func answerRaw(text string) func(string, http.ResponseWriter, *http.Request) {
	return func(_ string, w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = c.Write([]byte(text))
	}
}

// injections are requests, each with something evil in one place.
func injections(key string) []string {
	escaped := strings.NewReplacer("\r", "%0D", "\n", "%0A", "\x1b", "%1B", "\x07", "%07", " ", "%20", "\u009b", "%C2%9B", "\u2028", "%E2%80%A8").Replace(evil)
	quoted, _ := json.Marshal(evil)
	post := func(method, path, body string) string {
		return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: a\r\nX-API-Key: %s\r\nAuthorization: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
			method, path, key, bearer, len(body), body)
	}
	get := func(path, header string) string {
		return "GET " + path + " HTTP/1.1\r\nHost: a\r\nAuthorization: " + bearer + "\r\nConnection: close\r\n" + header + "\r\n"
	}
	with := "X-API-Key: " + key + "\r\n"
	return []string{
		get("/"+escaped, with),
		get("/accounts/"+escaped, with),
		get("/docs?lang="+escaped, with),
		get(hook+"/deliveries/"+escaped, with),
		get(hook+"/deliveries?cursor="+escaped, with),
		get(hook+"/deliveries?messageId="+escaped, with),
		get(hook+"/deliveries?"+escaped+"=1", with),
		get(hook+"\x1b[31m", with),
		get(hook, with+"X-Request-Id: a\x1b[31mevil\r\n"),
		get(hook, with+"X-Request-Id: evil\u009b31m\r\n"),
		get(hook, with+"X-Request-Id: evil\r\n\tX-Evil: 1\r\n"),
		get(hook, with+"Origin: https://"+escaped+"\r\n"),
		get(hook, "X-API-Key: \u009b31mevil\r\n"),
		post("POST", hook, fmt.Sprintf(`{"callbackUrl":%s}`, quoted)),
		post("PUT", hook, fmt.Sprintf(`{"callbackUrl":"https://example.com/%s"}`, strings.Trim(string(quoted), `"`))),
		post("PUT", hook, fmt.Sprintf(`{%s:1}`, quoted)),
		post("POST", "/events", batch([]string{event("acc", strings.Trim(string(quoted), `"`), "m", "SENT")})),
		post("POST", "/events", batch([]string{event(strings.Trim(string(quoted), `"`), "e", "m", "SENT")})),
		post("PUT", "/accounts/"+escaped, ""),
		post("POST", "/accounts/acc/api-keys", fmt.Sprintf(`{"sha256":%s}`, quoted)),
	}
}

func (s *service) wantNoInjection(t *testing.T, request string) {
	t.Helper()
	c := s.dial()
	c.send(request)
	resp, body := c.answer()
	for name, values := range resp.Header {
		if strings.Contains(name, "Evil") || strings.ContainsFunc(strings.Join(values, ""), unprintable) {
			t.Errorf("%.60q: the header %s: %q is not the service's", request, name, values)
		}
	}
	if strings.ContainsAny(body, "\r\x1b\x07") {
		t.Errorf("%.60q: the body %q is not printable", request, body)
	}
}

func unprintable(r rune) bool { return r < ' ' || r > '~' }

func wantCleanLog(t *testing.T, format, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if format == "json" && !json.Valid([]byte(line)) || format == "text" && !strings.HasPrefix(line, "time=") {
			t.Errorf("log line %q: want one that begins like all", line)
		}
		if strings.ContainsFunc(line, unprintable) {
			t.Errorf("log line %q: want printable ASCII alone", line)
		}
	}
}

// Secrets are found nowhere but where they belong: keys nowhere; signing
// secrets and the queries of callback URLs, without which nothing can be sent, in
// the database alone, and with --secret-key not even there.
func TestSecretsStayOut(t *testing.T) {
	const query = "token=canary-of-the-query"
	bin := build(t, false)
	for name, flags := range map[string][]string{"in clear": nil, "encrypted": {"--secret-key", strings.Repeat("5a", 32)}} {
		t.Run(name, func(t *testing.T) {
			ca := newAuthority(t)
			to := newSink(t, ca)
			to.answer = func(_ string, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
			db := filepath.Join(t.TempDir(), "recapito.db")
			svc := serve(t, bin, db, append(flags, "--callback-ca", ca.file, "--log-level", "debug")...)
			key := svc.account("acc")
			code, answer := svc.api("POST", hook, key, callback(to.url("acc")+"?"+query))
			if code != 201 {
				t.Fatalf("POST: %d %s", code, answer)
			}
			secret := field(t, answer, "signingSecret")
			_, answer = svc.api("POST", hook+"/signing-secret", key, "")
			newSecret := field(t, answer, "signingSecret")
			feed(t, svc, 1, [][]string{{event("acc", "e1", "m1", "SENT")}})
			eventually(t, "the log line of the attempt", func() bool { return strings.Contains(svc.log.String(), "HTTP_STATUS") })

			public := map[string]string{"the problems": svc.problems(key, query)}
			_, public["the delivery"] = textOf(svc.api("GET", hook+"/deliveries/e1", key, ""))
			_, public["the metrics"] = get(t, svc.ops+"/metrics")
			files := filesOf(t, db, "while it runs: ", 2) // the log as well
			svc.terminate()
			maps.Copy(files, filesOf(t, db, "", 1))
			public["the log"] = svc.log.String()
			canary := map[string]string{"the callback's query": "canary-of-the-query"}
			secrets := map[string]string{}
			for what, text := range map[string]string{"the signing secret": secret, "the new signing secret": newSecret} {
				raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whsec_"))
				if err != nil {
					t.Fatal(err)
				}
				secrets[what], secrets[what+"'s bytes"] = strings.TrimPrefix(text, "whsec_"), string(raw)
			}
			keys := map[string]string{"the API key": key, "the platform key": platformKey}
			wantNone(t, public, keys)
			wantNone(t, public, secrets)
			wantNone(t, public, canary)
			wantNone(t, files, keys)
			if name == "encrypted" {
				wantNone(t, files, secrets)
				wantNone(t, files, canary)
			} else if all := files[filepath.Base(db)]; !strings.Contains(all, query) || !strings.Contains(all, secrets["the signing secret's bytes"]) {
				t.Error("without --secret-key, the query or the signing secret is not in the database: this test looks in the wrong place")
			}
		})
	}
}

// filesOf reads what there is of the database: its file and, while it is served,
// its log.
func filesOf(t *testing.T, db, when string, least int) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(db + "*")
	if err != nil || len(paths) < least {
		t.Fatalf("files of the database: %q, %v; want %d at least", paths, err, least)
	}
	files := map[string]string{}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[when+filepath.Base(path)] = string(content)
	}
	return files
}

// problems are the bodies of errors that were made with secrets in the request.
func (s *service) problems(key, query string) string {
	var all strings.Builder
	bad := callback("https://127.0.0.1:1/?" + query + "\n")
	for _, r := range [][4]string{
		{"POST", hook, key, bad}, {"PUT", hook, key, bad}, {"POST", hook, key, callback("https://example.com/?" + query)},
		{"PUT", hook, key, `{"callbackUrl":"https://a.example/?` + query}, {"GET", hook + "?" + query, key + "x", ""},
		{"GET", hook + "/nowhere?" + query, key, ""}, {"PATCH", hook + "?" + query, key, ""},
		{"POST", "/events", bearer, `{"events":[{"id":"` + query + `","` + key + `":1}]}`},
		{"GET", "/accounts/nobody", bearer, ""}, {"GET", "/accounts/nobody", bearer + "x", ""},
	} {
		code, body := s.api(r[0], r[1], r[2], r[3])
		if code < 400 || !isProblem(body, code) {
			s.t.Errorf("%s %s: %d %s, want a problem", r[0], r[1], code, body)
		}
		if r[1] != "/events" || !strings.Contains(r[3], key) { // the caller's own member name may be named
			all.Write(body)
		}
	}
	return all.String()
}

func textOf(code int, body []byte) (int, string) { return code, string(body) }

func wantNone(t *testing.T, places, secrets map[string]string) {
	t.Helper()
	for where, text := range places {
		for what, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s is in %s", what, where)
			}
		}
	}
}

// Connections that send nothing, or little, or nothing more, are many and cost
// little: who asks is answered, and the slow ones are cut off.
func TestTenThousandConnections(t *testing.T) {
	const each = 2500
	svc := serve(t, build(t, false), filepath.Join(t.TempDir(), "recapito.db"))
	wantFiles(t, 4*each+500)
	key := svc.account("acc")
	svc.api("POST", hook, key, callback("https://example.com/status"))
	half := "POST /events HTTP/1.1\r\nHost: a\r\nAuthorization: " + bearer + "\r\nContent-Type: application/json\r\n"
	var silent, slow []net.Conn
	for range each {
		silent = append(silent, svc.dial())
		c := svc.dial()
		c.send(half)
		slow = append(slow, c)
		c = svc.dial()
		c.send(half + "Content-Length: 100\r\n\r\n{") // its body never comes
		c = svc.dial()
		c.send("GET " + hook + " HTTP/1.1\r\nHost: a\r\nX-API-Key: " + key + "\r\n\r\n")
		if resp, _ := c.answer(); resp.StatusCode != 200 {
			t.Fatalf("GET: %d, want 200", resp.StatusCode)
		}
	}
	fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	for i := range 200 {
		body := batch([]string{event("acc", fmt.Sprint("e", i), "m", "SENT")})
		req, err := http.NewRequest("POST", svc.url+"/events", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", bearer)
		req.Header.Set("Content-Type", "application/json")
		resp, err := fresh.Do(req)
		if err != nil {
			t.Fatalf("request %d beside %d connections: %v", i, 4*each, err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusAccepted {
			t.Fatalf("request %d beside %d connections: %d, want 202", i, 4*each, resp.StatusCode)
		}
	}
	for name, connections := range map[string][]net.Conn{"sent nothing": silent, "sent half a head": slow} {
		for _, c := range connections {
			for b := make([]byte, 512); ; {
				n, err := c.Read(b)
				if os.IsTimeout(err) {
					t.Fatalf("a connection that %s is still open after two minutes", name)
				}
				if err != nil {
					break
				}
				if n > 0 && !strings.HasPrefix(string(b), "HTTP/1.1 4") {
					t.Fatalf("a connection that %s got %q", name, b[:n])
				}
			}
		}
	}
}

// A client that asks for much and reads nothing holds its connection no longer
// than a minute.
func TestWhoDoesNotReadIsCutOff(t *testing.T) {
	t.Parallel()
	svc := serve(t, build(t, false), filepath.Join(t.TempDir(), "recapito.db"))
	c := svc.dial()
	if err := c.Conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	c.send("GET /docs/scalar.js HTTP/1.1\r\nHost: a\r\n\r\n") // more than all buffers on the way hold
	began := time.Now()
	eventually(t, "the service to give the answer up", func() bool {
		_, text := get(t, svc.ops+"/metrics")
		return strings.Contains(text, `recapito_http_requests_total{operation="docs",status="200"} 1`)
	})
	if took := time.Since(began); took < 30*time.Second {
		t.Errorf("the answer was over after %v: it was not one that waits for its reader", took)
	}
}
