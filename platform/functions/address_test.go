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

func TestAPatternIsForATypeOrAllOfANamespace(t *testing.T) {
	patterns := []string{"a.b/c", "n/*"}
	for typ, want := range map[string]bool{"a.b/c": true, "n/x": true, "a.b/d": false, "nn/x": false} {
		if Covers(patterns, typ) != want {
			t.Errorf("%s: %t", typ, !want)
		}
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{{"n/*", "n/x", true}, {"n/x", "n/*", true}, {"n/*", "n/*", true}, {"n/*", "m/*", false}, {"n/x", "n/y", false}} {
		if Overlap(c.a, c.b) != c.want {
			t.Errorf("%s and %s: %t", c.a, c.b, !c.want)
		}
	}
	for text, want := range map[string]bool{"n/*": true, "n/x": true, "*": false, "n/*x": false, "io.weir/*": false, "*/x": false} {
		if (CheckPattern(text) == nil) != want {
			t.Errorf("%s: %t", text, !want)
		}
	}
}
