package nearest

import (
	"strings"
	"testing"
)

func TestDistancesAreThoseCountedByHand(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"abc", "abc", 0}, {"", "abc", 3}, {"abc", "", 3},
		{"format", "fromat", 1}, {"format", "formt", 1}, {"format", "fomat", 1}, {"format", "fermat", 1},
		{"kitten", "sitting", 3}, {"exactly_one", "exactly_once", 1},
	} {
		if got := Distance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
	if got := Distance(strings.Repeat("a", MaxBytes+1), strings.Repeat("a", MaxBytes+1)); got <= MaxBytes {
		t.Errorf("names over the limit are %d apart", got)
	}
}
