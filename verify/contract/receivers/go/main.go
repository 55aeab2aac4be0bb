// Command go receives callbacks over TLS and verifies each with the official
// Standard Webhooks library: the receiver of verify/contract/README.md.
package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func main() {
	cert, err := tls.LoadX509KeyPair(os.Getenv("CERT"), os.Getenv("KEY"))
	if err != nil {
		log.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", l.Addr())
	log.Fatal(http.Serve(l, http.HandlerFunc(receive)))
}

// receive prints the event's id and, for each secret, whether it verifies the
// callback and refuses it with a byte more.
func receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		log.Fatal(err)
	}
	line := []any{r.Header.Get("webhook-id")}
	for secret := range strings.FieldsSeq(secrets()) {
		wh, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			log.Fatal(err)
		}
		line = append(line, wh.Verify(body, r.Header) == nil, wh.Verify(append(body, ' '), r.Header) == nil)
	}
	w.WriteHeader(http.StatusNoContent)
	fmt.Println(line...)
}

func secrets() string {
	text, err := os.ReadFile(os.Getenv("SECRETS"))
	if err != nil {
		log.Fatal(err)
	}
	return string(text)
}
