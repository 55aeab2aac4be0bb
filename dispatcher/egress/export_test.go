package egress

// HoldTurns takes all turns of handshakes until they are given back.
func (c *Client) HoldTurns() (giveBack func()) {
	for range cap(c.turns) {
		c.turns <- struct{}{}
	}
	return func() {
		for range cap(c.turns) {
			<-c.turns
		}
	}
}
