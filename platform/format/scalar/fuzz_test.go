package scalar

import (
	"math/big"
	"regexp"
	"strings"
	"testing"
	"time"
)

// plainTime is what RFC 3339 and the standard library have in common: no leap
// second, no blank for the T, offsets below a day.
var plainTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:[0-5]\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

func FuzzTimesAgreeWithTheStandardLibrary(f *testing.F) {
	for _, s := range []string{"2001-01-01T00:47:00Z", "1969-12-31T23:59:59.9999999+14:00", "2000-02-30T00:00:00Z", "0000-01-01T00:00:00-00:01", "2001-01-01 00:00:60z", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, p := ParseTime([]byte(text))
		if !plainTime.MatchString(text) {
			return // it must not panic
		}
		want, err := time.Parse(time.RFC3339, text)
		if (err == nil) != (p == "") {
			t.Fatalf("%q: problem %q, the standard library says %v", text, p, err)
		}
		if err == nil && got != want.UnixMicro() {
			t.Fatalf("%q: %d, want %d", text, got, want.UnixMicro())
		}
	})
}

func FuzzDecimalsAgreeWithMathBig(f *testing.F) {
	for _, s := range []string{"12.34", "-0", "1e3", "99999999999999999999999999999999999999", ".5", "5.", "+1", "1e-400"} {
		f.Add(s, 20, 4)
	}
	number := regexp.MustCompile(`^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$`)
	f.Fuzz(func(t *testing.T, text string, precision, scale int) {
		if precision < 1 || precision > 38 || scale < 0 || scale > precision {
			return
		}
		v, p := ParseDecimal([]byte(text), precision, scale)
		if !number.MatchString(text) {
			if p == "" && !strings.ContainsAny(text, "eE") {
				t.Fatalf("%q was read as %v", text, v)
			}
			return // long exponents: it must not panic nor take for ever
		}
		want, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("%q is no number to math/big", text)
		}
		want.Mul(want, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)))
		limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(precision)), nil)
		fits := want.IsInt() && new(big.Int).Abs(want.Num()).Cmp(limit) < 0
		if fits != (p == "") || fits && v.big().Cmp(want.Num()) != 0 {
			t.Fatalf("%q in decimal(%d,%d): %s (%q), want %s", text, precision, scale, v.big(), p, want)
		}
	})
}
