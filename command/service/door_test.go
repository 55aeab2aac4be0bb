package service

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// house is an HTTP server behind a door.
type house struct {
	t    *testing.T
	addr string
	door *door
}

func openHouse(t *testing.T, most int, h http.HandlerFunc, adjust ...func(*http.Server)) *house {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := newDoor(l, most, func() {})
	s := newHTTPServer(h, d, slog.New(slog.DiscardHandler))
	for _, f := range adjust {
		f(s)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(d) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: got %v, want %v", err, http.ErrServerClosed)
		}
		d.answers.Wait()
	})
	return &house{t, l.Addr().String(), d}
}

// patience is for what hangs: on a busy machine all takes its time.
const patience = 5 * time.Minute

// visitor is a client's connection, from a loopback address of its own.
type visitor struct {
	net.Conn
	t    *testing.T
	from *bufio.Reader
}

func (h *house) visit(from string) *visitor {
	h.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	c, err := dialer.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		h.t.Fatal(err)
	}
	return &visitor{c, h.t, bufio.NewReader(c)}
}

func (v *visitor) send(text string) {
	v.t.Helper()
	if _, err := io.WriteString(v, text); err != nil {
		v.t.Fatalf("send: %v", err)
	}
}

func (v *visitor) wantStatus(want int) (body string) {
	v.t.Helper()
	resp, err := http.ReadResponse(v.from, nil)
	if err != nil {
		v.t.Fatalf("read the answer: %v", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		v.t.Fatalf("got %d %s %v, want %d", resp.StatusCode, text, err, want)
	}
	return string(text)
}

// wantShownOut fails the test unless the server has closed the connection.
func (v *visitor) wantShownOut(what string) {
	v.t.Helper()
	if _, err := v.from.ReadByte(); err == nil || os.IsTimeout(err) {
		v.t.Fatalf("%s: got %v, want the connection closed", what, err)
	}
}

// eventuallyHolds polls until so many are in the house.
func (h *house) eventuallyHolds(guests, waiting int) {
	h.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		h.door.mu.Lock()
		g, w := h.door.guests, h.door.waiting.Len()
		h.door.mu.Unlock()
		if g == guests && w == waiting {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("guests: got %d, %d of them waiting; want %d and %d", g, w, guests, waiting)
		}
		time.Sleep(time.Millisecond)
	}
}

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

// TestACrowdKeepsNobodyOut: of those that wait, the one that came first from
// where most come makes room; who is being answered stays.
func TestACrowdKeepsNobodyOut(t *testing.T) {
	answer := make(chan struct{})
	h := openHouse(t, 4, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			<-answer
		}
	})
	long := h.visit("127.0.0.1")
	long.send("GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
	h.eventuallyHolds(1, 0)
	quiet := h.visit("127.0.0.3") // alone where it comes from
	h.eventuallyHolds(2, 1)
	first := h.visit("127.0.0.2")
	h.eventuallyHolds(3, 2)
	second := h.visit("127.0.0.2")
	second.send("GET / HTTP/1.1\r\nX-Half: ")
	h.eventuallyHolds(4, 3)

	for range 3 { // each takes the place of the one before
		next := h.visit("127.0.0.1")
		next.send(get)
		next.wantStatus(200)
		h.eventuallyHolds(4, 3) // it waits again
	}
	first.wantShownOut("the first of the crowd")
	quiet.send(get)
	quiet.wantStatus(200)
	close(answer)
	long.wantStatus(200)
}

// TestStrangersCloseNoConnectionWithAKey, though they come from the same address,
// as all do behind a proxy; and those with a key do not close all of the others.
func TestStrangersCloseNoConnectionWithAKey(t *testing.T) {
	h := openHouse(t, 4, func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-API-Key") != "" {
			hasKey(r.Context())
		}
	})
	const keyed = "GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: k\r\n\r\n"
	ours := h.visit("127.0.0.1")
	ours.send(keyed)
	ours.wantStatus(200)
	for range 8 {
		h.visit("127.0.0.1").send("GET / HTTP/1.1\r\nX-Half: ")
	}
	next := h.visit("127.0.0.1") // it is let in after those before
	next.send(get)
	next.wantStatus(200)
	ours.send(keyed)
	ours.wantStatus(200)
	h.eventuallyHolds(4, 4)

	var greedy []*visitor
	for range 3 {
		v := h.visit("127.0.0.1")
		v.send(keyed)
		v.wantStatus(200)
		h.eventuallyHolds(4, 4)
		greedy = append(greedy, v)
	}
	ours.wantShownOut("the longest idle of four with a key")
	next = h.visit("127.0.0.1")
	next.send(get)
	next.wantStatus(200)
	greedy[2].send(keyed)
	greedy[2].wantStatus(200)
}

// TestWhoSendsOrReadsSlowlyMakesRoom, though a request is under way.
func TestWhoSendsOrReadsSlowlyMakesRoom(t *testing.T) {
	begun, cut := make(chan struct{}, 2), make(chan error, 1)
	h := openHouse(t, 2, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" || r.ContentLength > 0 {
			begun <- struct{}{} // before that, it waits as a connection without a request
		}
		if r.URL.Path == "/large" {
			_, err := io.Copy(w, strings.NewReader(strings.Repeat("x", 64<<20)))
			cut <- err
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
	})
	sender := h.visit("127.0.0.1")
	sender.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
	<-begun
	h.eventuallyHolds(1, 1)
	reader := h.visit("127.0.0.1")
	reader.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
	<-begun
	h.eventuallyHolds(2, 2)
	visit := func() {
		next := h.visit("127.0.0.1")
		next.send(get)
		next.wantStatus(200)
	}
	visit()
	sender.wantShownOut("a slow sender")
	for deadline := time.Now().Add(patience); ; visit() { // until what the kernel takes for it is full
		select {
		case err := <-cut:
			if err == nil {
				t.Error("a slow reader: got it answered, want the connection closed")
			}
			return
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("a slow reader has kept its place for %v", patience)
		}
	}
}

// TestWhoIsAnsweredBeforeItSendsMakesRoom: net/http waits for the rest of a body
// that was announced and that nobody wants.
func TestWhoIsAnsweredBeforeItSendsMakesRoom(t *testing.T) {
	begun := make(chan struct{}, 2)
	h := openHouse(t, 2, func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > 0 {
			begun <- struct{}{} // before that, it waits as a connection without a request
			w.WriteHeader(401)
		}
	}, func(s *http.Server) { s.ReadTimeout = 0 })
	const head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
	first := h.visit("127.0.0.1")
	first.send(head)
	<-begun
	h.eventuallyHolds(1, 1)
	second := h.visit("127.0.0.1")
	second.send(head)
	<-begun
	h.eventuallyHolds(2, 2)
	next := h.visit("127.0.0.1")
	next.send(get)
	next.wantStatus(200)
	second.send("0123456789")
	second.wantStatus(401)
	second.send(get) // it has kept its place
	second.wantStatus(200)
}

// TestAFullHouseLetsInAgain when all are being answered, and one is done.
func TestAFullHouseLetsInAgain(t *testing.T) {
	answer := make(chan struct{})
	h := openHouse(t, 2, func(http.ResponseWriter, *http.Request) { <-answer })
	var inside []*visitor
	for i := range 3 {
		v := h.visit("127.0.0.1")
		v.send(get)
		inside = append(inside, v)
		h.eventuallyHolds(min(i+1, 2), 0)
	}
	close(answer)
	for _, v := range inside {
		v.wantStatus(200)
	}
}

func TestFilesAreShared(t *testing.T) {
	for _, tt := range []struct {
		limit         uint64
		inFlight      int
		api, attempts int
	}{
		{0, 1024, 2048, 1024},
		{1 << 63, 1024, 2048, 1024},
		{20000, 1024, 2048, 1024},
		{2048, 1024, 896, 1024},
		{1024, 1024, 224, 672},
		{1024, 10, 886, 10},
		{64, 1024, 8, 24},
	} {
		api, attempts := ShareFiles(tt.limit, tt.inFlight)
		if api != tt.api || attempts != tt.attempts {
			t.Errorf("%d files, %d in flight: got %d and %d, want %d connections and %d attempts", tt.limit, tt.inFlight, api, attempts, tt.api, tt.attempts)
		}
	}
}

// TestWhatIsNoHTTPRequest has the answers that the document names, which net/http
// gives before any handler.
func TestWhatIsNoHTTPRequest(t *testing.T) {
	h := openHouse(t, 100, func(http.ResponseWriter, *http.Request) { t.Error("it has reached a handler") })
	for _, tt := range []struct {
		name, request string
		want          int
	}{
		{"no HTTP", "hello\r\n\r\n", 400},
		{"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
		{"another expectation", "GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", 417},
		{"a header of 8 KiB", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", maxHeader) + "\r\n\r\n", 431},
		{"2,000 header lines", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X:y\r\n", 2000) + "\r\n", 431},
		{"another coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
		{"another version", "GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := h.visit("127.0.0.1")
			v.t = t
			v.send(tt.request)
			resp, err := http.ReadResponse(v.from, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != tt.want || !resp.Close {
				t.Errorf("got %d, closing %v; want %d and closing", resp.StatusCode, resp.Close, tt.want)
			}
		})
	}
	ok := openHouse(t, 100, func(http.ResponseWriter, *http.Request) {}).visit("127.0.0.1")
	ok.send("GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", maxHeader-100) + "\r\n\r\n")
	ok.wantStatus(200)
}
