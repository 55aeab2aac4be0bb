package egress

// HoldTurns takes all turns of handshakes until they are given back.
func (c *Client) HoldTurns() (giveBack func()) { return hold(c.turns.all) }

// HoldStrangers takes all turns of strangers, likewise.
func (c *Client) HoldStrangers() (giveBack func()) { return hold(c.turns.strangers) }

func hold(places chan struct{}) (giveBack func()) {
	for range cap(places) {
		places <- struct{}{}
	}
	return func() {
		for range cap(places) {
			<-places
		}
	}
}

// Rest is how long a stranger's turn rests.
var Rest = rest
