package dispatcher

import "time"

// noticeGap is how often the operator is told the same.
const noticeGap = time.Minute

// notice is what the operator was last told of something that goes on.
type notice struct {
	text string
	at   time.Time
}

// due reports whether to tell the text now: it is another one, or was told
// noticeGap ago.
func (n *notice) due(text string, now time.Time) bool {
	if text == n.text && !n.at.IsZero() && now.Sub(n.at) < noticeGap {
		return false
	}
	n.text, n.at = text, now
	return true
}
