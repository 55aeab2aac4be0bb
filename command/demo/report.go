package demo

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/recapito/recapito/command/terminal"
)

// statistics are what the summary shows of an endpoint.
type statistics struct {
	verified, retries, duplicates int
	inOrder, messages             int
	p50, max                      time.Duration // from acceptance to acknowledgement
}

// statistics must be called with e.mu held.
func (e *endpoint) statistics() statistics {
	var s statistics
	var latencies []time.Duration
	arrived := make(map[string][]string) // message → event ids, as acknowledged
	for _, c := range e.got {
		if c.Unproven == nil {
			s.verified++
		}
		if c.Attempt > 1 {
			s.retries++
		}
		if c.Duplicate {
			s.duplicates++
		}
		if c.Status/100 == 2 {
			latencies = append(latencies, c.Latency())
			arrived[c.Event.MessageID] = append(arrived[c.Event.MessageID], c.EventID)
		}
	}
	sent := make(map[string][]string)
	for _, event := range e.events {
		sent[event.MessageID] = append(sent[event.MessageID], event.ID)
	}
	s.messages = len(sent)
	for message, ids := range sent {
		if slices.Equal(ids, arrived[message]) {
			s.inOrder++
		}
	}
	if n := len(latencies); n > 0 {
		slices.Sort(latencies)
		s.p50, s.max = latencies[n/2], latencies[n-1]
	}
	return s
}

// summary prints the table, a column for each endpoint.
func (d *demo) summary(endpoints ...*endpoint) {
	rows := [][]string{{""}, {"events accepted"}, {"events acknowledged"}, {"callbacks (attempts)"}, {"  of these retries"}, {"  of these verified"},
		{"duplicates"}, {"messages in order"}, {"latency p50"}, {"latency max"}}
	for _, e := range endpoints {
		e.mu.Lock()
		s := e.statistics()
		column := []string{e.account, count(len(e.events)), count(len(e.events) - len(e.missing)), count(len(e.got)), count(s.retries), count(s.verified),
			count(s.duplicates), fmt.Sprintf("%d of %d", s.inOrder, s.messages), terminal.Brief(s.p50), terminal.Brief(s.max)}
		e.mu.Unlock()
		for i := range rows {
			rows[i] = append(rows[i], column[i])
		}
	}
	d.title("Summary")
	var table strings.Builder
	t := tabwriter.NewWriter(&table, 0, 0, 3, ' ', 0)
	for _, r := range rows {
		_, _ = fmt.Fprintln(t, "   "+strings.Join(r, "\t")) // into memory
	}
	_ = t.Flush() // into memory
	d.out.Print(table.String())
}

func count(n int) string { return fmt.Sprint(n) }

// byHand says how to do the same without the demo. binary is the name by which
// it was called.
func byHand(binary string) string {
	return strings.NewReplacer("   recapito ", "   "+binary+" ", "$(recapito ", "$("+binary+" ").Replace(`
The same by hand. In one terminal, the account's endpoint:

   recapito listen --secret-file webhook.json --fail 1

In another one, the service:

   export RECAPITO_PLATFORM_KEY=a-key-for-this-tour
   recapito serve --allow-network 127.0.0.0/8 \
     --callback-ca recapito-listen-ca.pem

In a third one, the platform and the account:

   export RECAPITO_PLATFORM_KEY=a-key-for-this-tour
   SERVER=http://127.0.0.1:8080
   recapito account create acc_demo
   KEY=$(recapito key create acc_demo)
   curl -f -o webhook.json -H "X-API-Key: $KEY" \
     -H 'Content-Type: application/json' \
     -d '{"callbackUrl":"https://127.0.0.1:8443/status"}' \
     $SERVER/webhooks/delivery-status && cat webhook.json
   recapito send command/demo/events.ndjson
   curl -H "Authorization: Bearer $RECAPITO_PLATFORM_KEY" \
     -H 'Content-Type: application/json' \
     -d '{"events":[{"id":"evt_mine","accountId":"acc_demo",
       "messageId":"m-1","channel":"SMS","destination":"+393401234567",
       "status":"DELIVERED","timestamp":"2026-11-20T10:30:00Z"}]}' \
     $SERVER/events
   curl -H "X-API-Key: $KEY" $SERVER/webhooks/delivery-status
   curl -H "X-API-Key: $KEY" \
     "$SERVER/webhooks/delivery-status/deliveries?limit=3"
   curl -H "X-API-Key: $KEY" \
     $SERVER/webhooks/delivery-status/deliveries/evt_mine
`)
}
