package e2e

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
)

// Each letter of evenFont is so wide, in thousandths of its size: a little more than letters
// are in the mean.
const evenWidth = 550

// evenFont is a TrueType font whose letters are all boxes of one width, with neither hints
// nor kerning: a text takes the same room on every machine. It has what the console writes:
// Latin letters, punctuation and arrows.
func evenFont() []byte {
	const box, empty = 1, 2 // glyphs
	var groups []any
	for _, of := range [][2]uint32{{0x20, 0x7e}, {0xa0, 0x17f}, {0x2000, 0x206f}, {0x2190, 0x2193}, {0x2713, 0x2713}} {
		for c := of[0]; c <= of[1]; c++ {
			glyph := uint32(box)
			if c == 0x20 || c == 0xa0 || c >= 0x2000 && c <= 0x200a {
				glyph = empty
			}
			groups = append(groups, c, c, glyph)
		}
	}
	n := uint32(len(groups) / 3)
	// One contour of four points, from there to there, by steps from the point before.
	letter := packed(int16(1), int16(50), int16(0), int16(500), int16(700), uint16(3), uint16(0), []byte{1, 1, 1, 1},
		int16(50), int16(450), int16(0), int16(-450), int16(0), int16(0), int16(700), int16(0))
	return sfnt(map[string][]byte{
		"cmap": append(packed(uint16(0), uint16(1), uint16(3), uint16(10), uint32(12), uint16(12), uint16(0), 16+12*n, uint32(0), n), packed(groups...)...),
		"glyf": slices.Concat(letter, letter),
		"head": packed(uint32(0x10000), uint32(0x10000), uint32(0), uint32(0x5f0f3cf5), uint16(3), uint16(1000), uint64(0), uint64(0),
			int16(0), int16(0), int16(500), int16(700), uint16(0), uint16(8), int16(2), int16(0), int16(0)),
		"hhea": packed(uint32(0x10000), int16(800), int16(-200), int16(0), uint16(evenWidth), int16(0), int16(0), int16(500),
			int16(1), int16(0), int16(0), uint64(0), int16(0), uint16(1)),
		"hmtx": packed(uint16(evenWidth), int16(50), int16(50), int16(0)),
		"loca": packed(uint16(0), uint16(len(letter)/2), uint16(len(letter)), uint16(len(letter))),
		"maxp": packed(uint32(0x10000), uint16(3), uint16(4), uint16(1), uint16(0), uint16(0), uint16(2), make([]byte, 16)),
		"name": packed(uint16(0), uint16(0), uint16(6)),
		"post": packed(uint32(0x30000), uint32(0), int16(-100), int16(50), uint32(1), make([]byte, 16)),
		"OS/2": packed(uint16(4), int16(evenWidth), uint16(400), uint16(5), make([]byte, 24), make([]byte, 10), make([]byte, 16), []byte("NONE"),
			uint16(0x40), uint16(0x20), uint16(0x2713), int16(800), int16(-200), int16(0), uint16(800), uint16(200), uint64(1), int16(500), int16(700), uint16(0), uint16(0x20), uint16(1)),
	})
}

// packed is the values one after the other, as fonts have them.
func packed(values ...any) []byte {
	var b bytes.Buffer
	for _, v := range values {
		if err := binary.Write(&b, binary.BigEndian, v); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

// sfnt is a font file of these tables.
func sfnt(tables map[string][]byte) []byte {
	const most, exponent = 8, 3 // the power of two below the ten tables
	at := 12 + 16*len(tables)
	head := packed(uint32(0x10000), uint16(len(tables)), uint16(16*most), uint16(exponent), uint16(16*(len(tables)-most)))
	var body []byte
	for _, tag := range slices.Sorted(maps.Keys(tables)) {
		padded := append(slices.Clone(tables[tag]), make([]byte, -len(tables[tag])&3)...)
		var sum uint32
		for i := 0; i < len(padded); i += 4 {
			sum += binary.BigEndian.Uint32(padded[i:])
		}
		head = append(head, packed([]byte(tag), sum, uint32(at+len(body)), uint32(len(tables[tag])))...)
		body = append(body, padded...)
	}
	return append(head, body...)
}
