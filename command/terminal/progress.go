package terminal

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Progress shows how many bytes have been done, on a terminal only; size is -1
// where it is not known.
func Progress(w io.Writer, what string, size int64) *progressbar.ProgressBar {
	return progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(w), progressbar.OptionSetVisibility(Is(w)),
		progressbar.OptionSetDescription(what), progressbar.OptionShowBytes(true),
		progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)
}

// Count shows how many of some things have been done, on a terminal only.
func Count(w io.Writer, what string, total int64) *progressbar.ProgressBar {
	return progressbar.NewOptions64(max(1, total),
		progressbar.OptionSetWriter(w), progressbar.OptionSetVisibility(Is(w)),
		progressbar.OptionSetDescription(what), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
		progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)
}
