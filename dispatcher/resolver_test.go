package dispatcher_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
)

// A resolver that is silent says nothing of an endpoint, and neither does a machine
// without authorities, nor what a proxy says: its lane is neither a slow one afterwards nor takes fewer
// attempts at a time.
func TestSilentResolverIsNoEndpointsSlowness(t *testing.T) {
	for _, tt := range []struct {
		res     egress.Result
		suspect int
		atATime int
	}{
		{egress.Result{Kind: egress.DNSFailed, Detail: egress.DNSTimeout}, 0, 3},
		{egress.Result{Kind: egress.DNSFailed, Detail: egress.DNSServerFailure}, 0, 3},
		{egress.Result{Kind: egress.NoAuthorities}, 0, 3},
		{egress.Result{Kind: egress.ConnectFailed, Detail: egress.ConnectTimeout, ByProxy: true}, 0, 3},
		{egress.Result{Kind: egress.DestinationRefused, Detail: egress.NetworkDenied, ByProxy: true}, 0, 3},
		{egress.Result{Kind: egress.ConnectFailed, Detail: egress.ConnectTimeout}, 1, 1},
		{egress.Result{Kind: egress.TLSFailed, Detail: egress.HandshakeTimeout}, 1, 1},
		{egress.Result{Kind: egress.Timeout, Detail: egress.NoAnswer}, 1, 1},
	} {
		t.Run(tt.res.Kind.String()+" "+string(tt.res.Detail), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.account("a")
				for range 5 { // one at a time takes the limit to 3
					r.accept("a", "m")
					r.settle()
				}
				r.recv.set(func(context.Context, call) egress.Result {
					time.Sleep(5 * time.Second)
					return tt.res
				})
				lost := r.accept("a", "lost")[0]
				r.after(2 * time.Second)
				if s := r.disp.Stats(); s.InUseBy["suspect"] != 1 {
					t.Errorf("after 2 s: %d suspect slots in use, want 1: it is one that hangs", s.InUseBy["suspect"])
				}
				r.after(3 * time.Second)
				if s := r.disp.Stats(); s.Suspect != tt.suspect {
					t.Errorf("after it ended: %d suspect lanes, want %d", s.Suspect, tt.suspect)
				}
				if _, attempts := r.delivery("a", lost); len(attempts) != 1 || attempts[0].Error != store.ErrorKind(tt.res.Kind.String()) || attempts[0].Detail != string(tt.res.Detail) {
					t.Errorf("attempts: %+v, want one that says %v %s", attempts, tt.res.Kind, tt.res.Detail)
				}
				r.after(2 * time.Second) // the rest after what timed out
				r.recv.set(func(ctx context.Context, c call) egress.Result {
					time.Sleep(100 * time.Millisecond)
					return ok(ctx, c)
				})
				before := len(r.recv.got())
				r.accept("a", many(20)...)
				r.after(50 * time.Millisecond)
				if got := len(r.recv.got()) - before; got != tt.atATime {
					t.Errorf("%d attempts at a time afterwards, want %d", got, tt.atATime)
				}
			})
		})
	}
}
