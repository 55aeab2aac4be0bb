package history

import (
	"time"

	"github.com/recapito/recapito/store"
)

// Behind completes those of an account's deliveries that are PENDING. others are the
// PENDING deliveries of their messages, with Seq, MessageID, EventID, DueAt,
// FailedAt and Replay.At. Nothing in them is later than now.
func Behind(ds, others []store.Delivery, now time.Time) {
	ofMessage := map[string][]store.Delivery{}
	for _, o := range others {
		ofMessage[o.MessageID] = append(ofMessage[o.MessageID], o)
	}
	for i := range ds {
		d, last := &ds[i], int64(0)
		if d.State != store.Pending {
			continue
		}
		for _, o := range ofMessage[d.MessageID] {
			switch {
			case o.Seq == d.Seq:
				d.FailedAt = o.FailedAt
			case o.Seq < d.Seq && o.IsReplay() == d.IsReplay():
				d.Behind.Add(o.DueAt, o.FailedAt, now)
				if o.Seq > last {
					last, d.Behind.EventID = o.Seq, o.EventID
				}
			}
		}
	}
}
