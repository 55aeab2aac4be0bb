package store

import "bytes"

// Quota bounds what may wait of one account: its PENDING deliveries. What would go beyond
// it is not accepted. Zero fields bound nothing. What is sent again counts, but is never
// refused; [Operations] has no quota.
type Quota struct {
	Events int64
	Bytes  int64 // of their payloads
}

// Holds reports whether so much may wait.
func (q Quota) Holds(events, bytes int64) bool {
	return (q.Events == 0 || events <= q.Events) && (q.Bytes == 0 || bytes <= q.Bytes)
}

// PayloadSize is how long the payload of a [Body] is.
func PayloadSize(body []byte) int64 {
	return int64(bytes.LastIndex(body, []byte(sequenceMember)) + 1)
}
