package e2e

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

const (
	picturesDir  = "docs/console/"
	picturesSums = consoleData + "pictures.txt"
)

// consolePictures are those of docs/console.md. Each is of a page of consolePages, with answers
// that are easy to read, and as high as it takes.
var consolePictures = []struct {
	name, page, lang, account, at string
	height                        int64
}{
	{"status-en", "ill", "en", "shop", "/status", 1170},
	{"status-it", "ill", "it", "shop", "/status", 1170},
	{"callbacks-en", "callbacks", "en", "shop", "/callbacks", 900},
	{"why-en", "why", "en", "shop", "/callbacks?event=evt_01KAG7QV4C2N2", 1130},
	{"why-it", "why", "it", "shop", "/callbacks?event=evt_01KAG7QV4C2N2", 1130},
	{"setup-en", "setup", "en", "bank", "/setup", 1205},
	{"setup-it", "setup", "it", "bank", "/setup", 1205},
	{"replay-en", "replay", "en", "bank", "/replay", 760},
	{"now-en", "now", "en", "", "/now", 900},
	{"accounts-en", "accounts", "en", "", "/accounts", 900},
	{"errors-en", "errors", "en", "", "/errors", 1010},
}

// TestConsolePictures holds the pictures of docs/console.md against the pages that they are of:
// a picture is old when what TestConsoleLayout has recorded of its page is not what it was when
// it was taken. This takes them anew, with the fonts of this machine:
//
//	go test -run TestConsolePictures ./verify/e2e -update
func TestConsolePictures(t *testing.T) {
	if *update {
		takePictures(t)
	}
	sums, size, files := read(t, picturesSums), 0, []string{}
	for _, p := range consolePictures {
		files = append(files, p.name+".png")
		if !strings.Contains(sums, lookSum(t, p.page, p.lang)+"  "+p.name+".png\n") {
			t.Errorf("%s%s.png is older than its page (-update takes it anew)", picturesDir, p.name)
		}
		size += len(read(t, picturesDir+p.name+".png"))
	}
	if size > 1_500_000 {
		t.Errorf("the pictures have %d bytes, want 1,500,000 at most", size)
	}
	wantNoOtherFile(t, strings.TrimSuffix(picturesDir, "/"), files)
}

// lookSum is the sum of what has been recorded of a page.
func lookSum(t *testing.T, page, lang string) string {
	t.Helper()
	return fmt.Sprintf("%x", sha256.Sum256([]byte(read(t, fmt.Sprintf("%spages/%s-%s-1280.txt", consoleData, page, lang)))))
}

// takePictures writes them, and what their pages look like now. A picture that would be the same,
// but for a pixel or two of its letters, is left alone.
func takePictures(t *testing.T) {
	t.Helper()
	c := newFixedConsole(t, build(t, false), "pictures.json")
	c.t = t
	if _, err := chromedp.Call(c.ctx, emulation.SetScrollbarsHidden, emulation.SetScrollbarsHiddenParams{Hidden: true}); err != nil {
		t.Fatal(err)
	}
	c.prefer("light")
	var sums strings.Builder
	for _, p := range consolePictures {
		c.do("set the size", chromedp.EmulateViewport(1280, p.height))
		c.show(p.account, p.lang, p.at)
		c.rest()
		c.js(`(document.documentElement.style.scrollbarGutter = 'auto', document.getAnimations().forEach(a => a.cancel()), true)`)
		file, taken := picturesDir+p.name+".png", reduced(c.picture(p.name+".png"))
		before, err := os.ReadFile(file)
		if old, fault := png.Decode(bytes.NewReader(before)); err != nil || fault != nil || alike(old, taken) < 0.99999 {
			var b bytes.Buffer
			if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, taken); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Fprintf(&sums, "%s  %s.png\n", lookSum(t, p.page, p.lang), p.name)
	}
	if err := os.WriteFile(picturesSums, []byte(sums.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// reduced is a picture in 256 colours, which makes its file small: those that it has most of, but
// none that is much like one that it has more of. Any other is the nearest of these.
func reduced(from image.Image) *image.Paletted {
	const most, little = 256, 12
	all, count := image.NewRGBA(from.Bounds()), map[color.RGBA]int{}
	draw.Draw(all, all.Rect, from, all.Rect.Min, draw.Src)
	for i := 0; i < len(all.Pix); i += 4 {
		count[color.RGBA{R: all.Pix[i], G: all.Pix[i+1], B: all.Pix[i+2], A: all.Pix[i+3]}]++
	}
	ranked := slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int {
		return cmp.Or(count[b]-count[a], int(a.R)-int(b.R), int(a.G)-int(b.G), int(a.B)-int(b.B))
	})
	apart := func(x, y uint8) int { return max(int(x), int(y)) - min(int(x), int(y)) }
	var palette color.Palette
	for _, c := range ranked {
		like := func(p color.Color) bool {
			q := p.(color.RGBA)
			return apart(c.R, q.R)+apart(c.G, q.G)+apart(c.B, q.B) < little
		}
		if len(palette) < most && !slices.ContainsFunc(palette, like) {
			palette = append(palette, c)
		}
	}
	to := image.NewPaletted(all.Rect, palette)
	draw.Draw(to, to.Rect, all, to.Rect.Min, draw.Src)
	return to
}
