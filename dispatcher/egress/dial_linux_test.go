package egress_test

import (
	"testing"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/verify/rig/hostile"
)

// Linux drops what would connect to a full backlog, as a firewall does.
func TestConnectHangs(t *testing.T) {
	addr, end, err := hostile.FullBacklog([4]byte{127, 0, 0, 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	testConnectTimeout(t, "https://"+addr+"/", egress.ConnectFailed, nil)
}
