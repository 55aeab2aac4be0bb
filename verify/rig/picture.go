package rig

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Curve is a quantity over time.
type Curve struct {
	Name   string
	At     []time.Duration
	Values []float64
}

// Add adds a point; times only grow.
func (c *Curve) Add(at time.Duration, value float64) {
	c.At, c.Values = append(c.At, at), append(c.Values, value)
}

const (
	pictureWidth, chartHeight, chartGap = 760, 110, 56
	chartLeft, chartRight, chartTop     = 56, 24, 64
)

// Draw draws curves of the same times one below the other, each from zero, as
// SVG. Its colours can be read on white and on black.
func Draw(title string, curves ...*Curve) []byte {
	var b bytes.Buffer
	height := chartTop + len(curves)*(chartHeight+chartGap)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12" fill="#808890">`+"\n", pictureWidth, height)
	fmt.Fprintf(&b, `<text x="%d" y="24" font-size="14" font-weight="600">%s</text>`+"\n", chartLeft, title)
	for i, c := range curves {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", chartLeft, chartTop+i*(chartHeight+chartGap))
		c.draw(&b)
		fmt.Fprintln(&b, "</g>")
	}
	fmt.Fprintln(&b, "</svg>")
	return b.Bytes()
}

func (c *Curve) draw(b *bytes.Buffer) {
	const width = pictureWidth - chartLeft - chartRight
	length, top := c.At[len(c.At)-1], roundUp(slices.Max(c.Values))
	fmt.Fprintf(b, `<text y="-8" font-weight="600">%s</text>`+"\n", c.Name)
	for i := range 3 {
		y := chartHeight - i*chartHeight/2
		fmt.Fprintf(b, `<path d="M0 %d h%d" stroke="#808890" stroke-opacity=".35"/><text x="-8" y="%d" text-anchor="end">%g</text>`+"\n", y, width, y+4, top*float64(i)/2)
	}
	for i := range 7 {
		at := length * time.Duration(i) / 6
		label := fmt.Sprintf("%.0f min", at.Minutes())
		if length < 10*time.Minute {
			label = fmt.Sprintf("%.0f s", at.Seconds())
		}
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", width*i/6, chartHeight+18, label)
	}
	points := make([]string, len(c.At))
	for i := range c.At {
		points[i] = fmt.Sprintf("%.1f,%.1f", width*c.At[i].Seconds()/length.Seconds(), chartHeight*(1-c.Values[i]/top))
	}
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="#2f81f7" stroke-width="1.5" stroke-linejoin="round"/>`+"\n", strings.Join(points, " "))
}

// roundUp is the next of 1, 2, 4, 5, 6, 8 and 10 times a power of ten.
func roundUp(v float64) float64 {
	power := 1.0
	for power*10 < v {
		power *= 10
	}
	for _, step := range []float64{1, 2, 4, 5, 6, 8} {
		if v <= step*power {
			return step * power
		}
	}
	return 10 * power
}
