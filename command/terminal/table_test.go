package terminal

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rivo/uniseg"
)

func rowsOf(texts ...[]string) (rows [][]Cell) {
	for _, r := range texts {
		var row []Cell
		for _, text := range r {
			row = append(row, Cell{Text: text})
		}
		rows = append(rows, row)
	}
	return rows
}

func TestTableFitsTheScreen(t *testing.T) {
	headings := []Heading{{Name: "AT"}, {Name: "EVENT", Least: 6}, {Name: "EMPTY"}, {Name: "MESSAGE", Least: 7}}
	rows := rowsOf([]string{"10:30:00", "evt_123456789", "", "m-1"}, []string{"10:30:01", "evt_2", "", strings.Repeat("訂單-", 9)})
	tests := []struct {
		width int
		want  []string
	}{
		{0, []string{"AT        EVENT          MESSAGE", "10:30:00  evt_123456789  m-1", "10:30:01  evt_2          " + strings.Repeat("訂單-", 9)}},
		{40, []string{"AT        EVENT          MESSAGE", "10:30:00  evt_123456789  m-1", "10:30:01  evt_2          訂單-訂單-訂單…"}},
		{28, []string{"AT        EVENT      MESSAGE", "10:30:00  evt_1234…  m-1", "10:30:01  evt_2      訂單-…"}},
		{10, []string{"AT        EVENT   MESSAGE", "10:30:00  evt_1…  m-1", "10:30:01  evt_2   訂單-…"}}, // cut no further
	}
	for _, test := range tests {
		var got []string
		widths := widthsFor(test.width, headings, rows)
		for _, r := range slices.Concat(rowsOf([]string{"AT", "EVENT", "EMPTY", "MESSAGE"}), rows) {
			line := tableLine(widths, r)
			got = append(got, line)
			if n := uniseg.StringWidth(line); test.width > 27 && n > test.width {
				t.Errorf("%d columns on %d: %s", n, test.width, line)
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("on %d columns (-want +got):\n%s", test.width, diff)
		}
	}
}

func TestFieldsShowWhole(t *testing.T) {
	var out bytes.Buffer
	long := strings.Repeat("x", 200)
	if err := Fields(&out, [][2]string{{"a", long}, {"", "b\x1b[2J"}, {"long name", "c"}}); err != nil {
		t.Fatal(err)
	}
	want := "a          " + long + "\n           b�[2J\nlong name  c\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}
