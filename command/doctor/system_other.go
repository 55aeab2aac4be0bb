//go:build !linux

package doctor

import (
	"errors"
	"time"
)

func space(string) (free uint64, kind string, err error) { return 0, "", errors.ErrUnsupported }

func synchronisation() (synchronised bool, off time.Duration, known bool) { return false, 0, false }
