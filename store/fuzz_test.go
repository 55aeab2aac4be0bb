package store_test

import (
	"hash/crc32"
	"math/big"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/http/httpguts"

	"github.com/recapito/recapito/store"
)

// FuzzCheckKey: a key that is taken can stand in a header as it is; one that
// begins like ours has our form and checksum, and no other letter in any place.
func FuzzCheckKey(f *testing.F) {
	f.Add("rcp_0123456789ABCDEFGHIJKLMNOPQRST4PMbyp", byte(5), byte('x'))
	f.Add("rcp_0123456789ABCDEFGHIJKLMNOPQRST4PMbyq", byte(35), byte('p'))
	f.Add("rcp_", byte(1), byte('_'))
	f.Add("RCP_foreign", byte(3), byte(' '))
	f.Add("key with space", byte(2), byte(0))
	f.Add(strings.Repeat("k", 513), byte(200), byte(0xff))
	f.Fuzz(func(t *testing.T, key string, at, letter byte) {
		if store.CheckKey(key) != nil {
			return
		}
		foreign := func(r rune) bool { return r > unicode.MaxASCII || unicode.IsSpace(r) }
		if !httpguts.ValidHeaderFieldValue(key) || strings.ContainsFunc(key, foreign) || key == "" || len(key) > 512 {
			t.Errorf("%q was taken, but is no header value of 1 to 512 visible ASCII characters", key)
		}
		rest, ours := strings.CutPrefix(key, "rcp_")
		if !ours {
			return
		}
		if len(rest) != 36 || rest[30:] != check(rest[:30]) {
			t.Errorf("%q was taken, want 30 characters and their checksum %s", key, check(rest[:min(30, len(rest))]))
		}
		changed := []byte(key)
		changed[4+int(at)%36] = letter
		if string(changed) != key && store.CheckKey(string(changed)) == nil {
			t.Errorf("%q was taken, and %q too, which differs in one letter", key, changed)
		}
	})
}

// check is the checksum of a key by another way: the digits of math/big.
func check(random string) string {
	digits := new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(random)))).Text(62)
	digits = strings.Map(func(r rune) rune { // big has the lower case first
		switch {
		case unicode.IsLower(r):
			return unicode.ToUpper(r)
		case unicode.IsUpper(r):
			return unicode.ToLower(r)
		}
		return r
	}, digits)
	return strings.Repeat("0", 6-len(digits)) + digits
}
