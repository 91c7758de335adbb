package functions

import (
	"errors"
	"strings"
	"testing"
)

func TestAnAddressIsTwoNamesAndAnIdThatMayHoldAnything(t *testing.T) {
	for text, want := range map[string]Address{
		"com.example/counter/acct-7":     {"com.example/counter", "acct-7"},
		"com.example/counter/a/b c/ü":    {"com.example/counter", "a/b c/ü"},
		"com.example/counter_2-x/\x00\n": {"com.example/counter_2-x", "\x00\n"},
	} {
		got, err := ParseAddress(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		if got.String() != text {
			t.Errorf("%q is written %q", text, got)
		}
	}
	for _, text := range []string{"", "a", "a/b", "a/b/", "/b/c", "a//c", "a b/c/d", "io.weir/call/7",
		"a/" + strings.Repeat("b", MaxTypeBytes) + "/c", "a/b/" + strings.Repeat("c", MaxIDBytes+1)} {
		if _, err := ParseAddress(text); !errors.Is(err, ErrAddress) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}
