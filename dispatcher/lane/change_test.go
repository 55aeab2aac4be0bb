package lane_test

import (
	"testing"

	"github.com/recapito/recapito/dispatcher/lane"
	"github.com/recapito/recapito/store"
)

// An account was another process's for a while, which took a PUT. Then its secret is
// rotated: that makes nothing due.
func TestRotationAfterThePutOfAnotherProcessIsNoPut(t *testing.T) {
	l := healthy(1)
	l.Lost(start)
	l.CameBack(start)
	put := *webhook
	put.Version, put.Health = 2, store.Health{State: store.HealthHealthy, Since: start, Version: 2}
	j := l.BeginJob(start)
	if j.Kind != lane.Page {
		t.Fatalf("the lane wants %v, want a page", j.Kind)
	}
	l.JobDone(j, &lane.Answer{Page: store.Backlog{Webhook: &put}}, start)
	rotated := put
	rotated.Version = 3
	l.Changed(&rotated, start)
	if j := l.BeginJob(start); j.Kind == lane.MakeDue {
		t.Error("a rotation makes everything due")
	}
}
