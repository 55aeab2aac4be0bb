package terminal

import "testing"

func TestColumnsShowNothingThatATerminalObeys(t *testing.T) {
	tests := []struct{ text, want string }{
		{"m-1", "m-1   "},
		{"message-1", "messa…"},
		{"", "-     "},
		{"\x1b[2J", "�[2J  "},
		{"a\nb", "a�b   "},
		{"訂單-", "訂單- "},
		{"訂單-📦", "訂單-…"},
		{"訂訂單📦", "訂訂… "},
	}
	for _, test := range tests {
		if got := Column(test.text, 6); got != test.want {
			t.Errorf("column(%q, 6): got %q, want %q", test.text, got, test.want)
		}
	}
}
