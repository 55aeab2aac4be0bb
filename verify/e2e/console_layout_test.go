package e2e

import (
	"bytes"
	"flag"
	"fmt"
	"image"
	"image/draw"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what the pages of the console look like into testdata/console/pages, and their pictures into docs/console")

// TestConsoleLayout holds each page of the console, in each language, light and dark, on a
// phone and wide, against a text that says what is to be seen: the order, roles, names and
// states of what is there, its boxes and its colours. The clock, the answers, the form of
// numbers and the font are given, so that the text depends neither on the machine nor on its
// fonts; boxes may be off by a little, as another Chromium may draw a field otherwise.
// Whatever the text says, nothing may lie on another thing, be cut off, be beyond the window,
// be hard to hit or hard to read. After a change that is meant:
//
//	go test -run TestConsoleLayout ./verify/e2e -update
func TestConsoleLayout(t *testing.T) {
	bin := build(t, false)
	var files []string
	for _, lang := range []string{"en", "it"} {
		c := newFixedConsole(t, bin, "answers.json", "even.js")
		for _, p := range consolePages {
			for _, width := range []int64{1280, 390} {
				file := fmt.Sprintf("%s-%s-%d.txt", p.name, lang, width)
				files = append(files, file)
				t.Run(file, func(t *testing.T) {
					c.t = t
					c.do("set the width", chromedp.EmulateViewport(width, 900))
					c.prefer("light")
					c.show(p.account, lang, p.at)
					c.rest()
					light, bright := c.look(), c.picture("light-"+file+".png")
					c.prefer("dark")
					dark, dim := c.look(), c.picture("dark-"+file+".png")
					if share := alike(bright, dim); share > 0.5 {
						t.Errorf("%.0f %% of light and dark are alike, want less than half", 100*share)
					}
					for _, fault := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(light.Faults, dark.Faults)))) {
						t.Error(fault)
					}
					wantAsRecorded(t, consoleData+"pages/"+file, lookOf(t, light, dark))
				})
			}
		}
	}
	wantNoOtherFile(t, consoleData+"pages", files)
}

// TestConsolePictureIsSteady: a page that has the same to show twice is drawn the same, to
// the pixel.
func TestConsolePictureIsSteady(t *testing.T) {
	c := newFixedConsole(t, build(t, false), "answers.json", "even.js")
	for _, p := range consolePages {
		t.Run(p.name, func(t *testing.T) {
			c.t = t
			draw := func() image.Image {
				c.show(p.account, "en", p.at)
				c.rest()
				return c.picture(p.name + ".png")
			}
			first := draw()
			eventually(t, "the page to be drawn as before", func() bool { return alike(first, draw()) == 1 })
		})
	}
}

// look is what is to be seen of a page, in one colour scheme.
type look struct {
	Lines []struct {
		What    string
		Box     []int // from the left and the top of the region that it is in, width, height
		Ink, On string
	}
	Faults  []string
	Palette map[string]string
}

func (c *console) look() look {
	c.t.Helper()
	source, err := os.ReadFile(consoleData + "layout.js")
	if err != nil {
		c.t.Fatal(err)
	}
	seen, err := chromedp.Run(c.ctx, chromedp.Evaluate[look](string(source)))
	if err != nil {
		c.t.Fatal(err)
	}
	return seen
}

// lookOf is the text of a page. It fails the test unless light and dark differ in colours alone.
func lookOf(t *testing.T, light, dark look) []string {
	t.Helper()
	colour := func(inLight, inDark string) string {
		pair := fmt.Sprintf("light-dark(%s, %s)", inLight, inDark)
		for _, name := range slices.Sorted(maps.Keys(light.Palette)) {
			if light.Palette[name] == pair {
				return name
			}
		}
		return inLight + "/" + inDark
	}
	text := func(l look, of int) string {
		line := l.Lines[of].What
		if l.Lines[of].Box != nil {
			line += " " + fmt.Sprint(l.Lines[of].Box)
		}
		return line
	}
	var all, other []string
	for i := range dark.Lines {
		other = append(other, text(dark, i))
	}
	for i := range light.Lines {
		all = append(all, text(light, i))
	}
	if diff := cmp.Diff(all, other); diff != "" {
		t.Errorf("light (-) and dark (+) differ in more than colours:\n%s", diff)
		return all
	}
	for i, l := range light.Lines {
		if l.Ink != "" {
			all[i] += " " + colour(l.Ink, dark.Lines[i].Ink)
		}
		if l.On != "" {
			all[i] += " on " + colour(l.On, dark.Lines[i].On)
		}
	}
	return all
}

var boxPattern = regexp.MustCompile(`\[-?\d+ -?\d+ \d+ \d+\]`)

// sameLine is whether two lines of such a text say the same, but for a little in their boxes.
func sameLine(a, b string) bool {
	if boxPattern.ReplaceAllString(a, "") != boxPattern.ReplaceAllString(b, "") {
		return false
	}
	x, y := boxPattern.FindString(a), boxPattern.FindString(b)
	if x == "" || y == "" {
		return x == y
	}
	those := strings.Fields(strings.Trim(y, "[]"))
	for i, this := range strings.Fields(strings.Trim(x, "[]")) {
		p, _ := strconv.Atoi(this)
		q, _ := strconv.Atoi(those[i])
		if little := 8 + max(p, q)/50; p-q > little || q-p > little {
			return false
		}
	}
	return true
}

// wantAsRecorded compares a text with that of a file, or writes it with -update.
func wantAsRecorded(t *testing.T, file string, got []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	want := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	diff := cmp.Diff(want, got, cmp.Comparer(sameLine))
	switch {
	case err == nil && diff == "":
	case *update:
		if err := os.WriteFile(file, []byte(strings.Join(got, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	case err != nil:
		t.Errorf("%v (-update writes it)", err)
	default:
		t.Errorf("the page is not as %s has it (-want +got; if it is meant, -update writes it):\n%s", file, diff)
	}
}

// wantNoOtherFile fails the test if the folder has others than these files.
func wantNoOtherFile(t *testing.T, dir string, files []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(files, e.Name()) {
			t.Errorf("%s/%s is of no page: remove it", dir, e.Name())
		}
	}
}

// alike is the share of pixels that two pictures of one size have in common.
func alike(a, b image.Image) float64 {
	if a.Bounds() != b.Bounds() {
		return 0
	}
	p, q := image.NewRGBA(a.Bounds()), image.NewRGBA(a.Bounds())
	draw.Draw(p, p.Rect, a, a.Bounds().Min, draw.Src)
	draw.Draw(q, q.Rect, b, b.Bounds().Min, draw.Src)
	same := 0
	for i := 0; i < len(p.Pix); i += 4 {
		if bytes.Equal(p.Pix[i:i+4], q.Pix[i:i+4]) {
			same++
		}
	}
	return float64(same) / float64(len(p.Pix)/4)
}
