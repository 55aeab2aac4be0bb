package command

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMisbehaviour(t *testing.T) {
	tests := []struct {
		name string
		cmd  listenCmd
		want []int // answers to four callbacks
	}{
		{"none", listenCmd{}, []int{204, 204, 204, 204}},
		{"--fail 2", listenCmd{Fail: 2}, []int{500, 500, 204, 204}},
		{"--fail 2 --status 429", listenCmd{Fail: 2, Status: 429}, []int{429, 429, 204, 204}},
		{"--status 302", listenCmd{Status: 302}, []int{302, 302, 302, 302}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []int
			for i := range test.want {
				got = append(got, test.cmd.answer(i+1))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
		})
	}
}
