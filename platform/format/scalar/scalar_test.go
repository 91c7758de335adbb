package scalar

import (
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func (v Int128) big() *big.Int {
	b := new(big.Int).Lsh(big.NewInt(v.Hi), 64)
	return b.Add(b, new(big.Int).SetUint64(v.Lo))
}

func TestDecimalsKeepEveryDigit(t *testing.T) {
	for _, c := range []struct {
		text             string
		precision, scale int
		want             string // unscaled, or the problem
	}{
		{"0", 5, 2, "0"},
		{"-0.00", 5, 2, "0"},
		{"1", 5, 2, "100"},
		{"12.34", 5, 2, "1234"},
		{"-12.3", 5, 2, "-1230"},
		{"12.345", 5, 2, string(Inexact)},
		{"12.340", 5, 2, "1234"},
		{"1234.5", 5, 2, string(TooLarge)},
		{"999.99", 5, 2, "99999"},
		{"1e2", 5, 2, "10000"},
		{"1.5e-1", 5, 2, "15"},
		{"15e-3", 5, 2, string(Inexact)},
		{"1e999999999999", 38, 0, string(TooLarge)},
		{"1e-999999999999", 38, 0, string(Inexact)},
		{"0e999999999999", 38, 0, "0"},
		{"99999999999999999999999999999999999999", 38, 0, "99999999999999999999999999999999999999"},
		{"-99999999999999999999999999999999999999", 38, 0, "-99999999999999999999999999999999999999"},
		{"100000000000000000000000000000000000000", 38, 0, string(TooLarge)},
		{"0.123456789012345678901234567890123456789", 38, 38, string(Inexact)},
		{"123456789012345678901234567890123456789123", 38, 0, string(TooLarge)},
		{"0.00000000000000000000000000000000000001", 38, 38, "1"},
		{"1e+2", 5, 0, "100"},
		{"", 5, 2, string(NotANumber)},
		{"-", 5, 2, string(NotANumber)},
		{".", 5, 2, string(NotANumber)},
		{"1x", 5, 2, string(NotANumber)},
		{"1e", 5, 2, string(NotANumber)},
		{"1e+", 5, 2, string(NotANumber)},
		{"1.2.3", 5, 2, string(NotANumber)},
	} {
		v, p := ParseDecimal([]byte(c.text), c.precision, c.scale)
		got := v.big().String()
		if p != "" {
			got = string(p)
		}
		if got != c.want {
			t.Errorf("ParseDecimal(%q, %d, %d) = %s, want %s", c.text, c.precision, c.scale, got, c.want)
		}
	}
}

// math/big is the independent model: text to rational, times 10^scale.
func TestDecimalsAgreeWithMathBig(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		var text strings.Builder
		if r.IntN(2) == 0 {
			text.WriteByte('-')
		}
		for range 1 + r.IntN(20) {
			text.WriteByte("0012345678900"[r.IntN(13)])
		}
		if r.IntN(2) == 0 {
			text.WriteByte('.')
			for range 1 + r.IntN(20) {
				text.WriteByte("0001234567890"[r.IntN(13)])
			}
		}
		precision := 1 + r.IntN(38)
		scale := r.IntN(precision + 1)
		rat, ok := new(big.Rat).SetString(text.String())
		if !ok {
			t.Fatal(text.String())
		}
		rat.Mul(rat, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)))
		limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(precision)), nil)
		fits := rat.IsInt() && new(big.Int).Abs(rat.Num()).Cmp(limit) < 0
		v, p := ParseDecimal([]byte(text.String()), precision, scale)
		if fits != (p == "") {
			t.Fatalf("ParseDecimal(%s, %d, %d): problem %q, but math/big says fits=%t", text.String(), precision, scale, p, fits)
		}
		if !fits {
			continue
		}
		if v.big().Cmp(rat.Num()) != 0 {
			t.Fatalf("ParseDecimal(%s, %d, %d) = %s, want %s", text.String(), precision, scale, v.big(), rat.Num())
		}
		back, p := ParseDecimal(AppendDecimal(nil, v, scale), precision, scale)
		if p != "" || back != v {
			t.Fatalf("%s written as %s reads as %v (%s)", v.big(), AppendDecimal(nil, v, scale), back, p)
		}
	}
}

func TestDecimalsAreWrittenWithTheirScale(t *testing.T) {
	for _, c := range []struct {
		v     Int128
		scale int
		want  string
	}{
		{Int128{0, 0}, 0, "0"}, {Int128{0, 0}, 2, "0.00"}, {Int128{0, 5}, 2, "0.05"}, {Int128{-1, ^uint64(4)}, 2, "-0.05"},
		{Int128{0, 12345}, 2, "123.45"}, {Int128{1, 0}, 0, "18446744073709551616"},
	} {
		if got := string(AppendDecimal(nil, c.v, c.scale)); got != c.want {
			t.Errorf("%v scale %d: %s, want %s", c.v, c.scale, got, c.want)
		}
	}
}

func TestTimesAgreeWithTheStandardLibrary(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	from, to := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro(), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).UnixMicro()
	for range 20000 {
		want := from + r.Int64N(to-from)
		tm := time.UnixMicro(want).In(time.FixedZone("", (r.IntN(48)-24)*1800))
		if y := tm.Year(); y < 0 || y > 9999 {
			continue
		}
		got, p := ParseTime([]byte(tm.Format(time.RFC3339Nano)))
		if p != "" || got != want {
			t.Fatalf("%s: %d (%s), want %d", tm.Format(time.RFC3339Nano), got, p, want)
		}
		if s := string(AppendTime(nil, want)); s != tm.UTC().Format(time.RFC3339Nano) {
			t.Fatalf("%d is written %s, want %s", want, s, tm.UTC().Format(time.RFC3339Nano))
		}
	}
}

func TestTimesThatAreNone(t *testing.T) {
	for text, want := range map[string]Problem{
		"2001-02-29T00:00:00Z":      NotATime,
		"2000-02-29T00:00:00Z":      "",
		"1900-02-29T00:00:00Z":      NotATime,
		"2001-01-01T24:00:00Z":      NotATime,
		"2001-01-01T00:00:00":       NoZone,
		"2001-01-01T00:00:00.":      NotATime,
		"2001-01-01T00:00:00+2:00":  NotATime,
		"2001-01-01T00:00:00+25:00": NotATime,
		"2001-01-01 00:00:00z":      "",
		"2001-01-01T00:00:60Z":      "",
		"2001-1-01T00:00:00Z":       NotATime,
		"+001-01-01T00:00:00Z":      NotATime,
		"":                          NotATime,
	} {
		if _, p := ParseTime([]byte(text)); p != want {
			t.Errorf("%q: problem %q, want %q", text, p, want)
		}
	}
}

func TestTimesAtTheEdgesOf64Bits(t *testing.T) {
	for micros, want := range map[int64]string{
		-1:                   "1969-12-31T23:59:59.999999Z",
		9223372036854775807:  "294247-01-10T04:00:54.775807Z",
		-9223372036854775807: "-290308-12-21T19:59:05.224193Z",
	} {
		if got := string(AppendTime(nil, micros)); got != want {
			t.Errorf("%d: %s, want %s", micros, got, want)
		}
	}
}

func TestIntegersMayBeWrittenWithPointOrExponent(t *testing.T) {
	for text, want := range map[string]int64{
		"9223372036854775807": 9223372036854775807, "-9223372036854775808": -9223372036854775808, "1.0": 1, "1e3": 1000, "-12.50e1": -125,
	} {
		if n, p := ParseInt([]byte(text)); p != "" || n != want {
			t.Errorf("%s: %d (%s)", text, n, p)
		}
	}
	for text, want := range map[string]Problem{"9223372036854775808": TooLarge, "1.5": "is not an integer", "x": NotANumber} {
		if _, p := ParseInt([]byte(text)); p != want {
			t.Errorf("%s: problem %q, want %q", text, p, want)
		}
	}
}

func TestCountsOfUnitsBecomeMicroseconds(t *testing.T) {
	for _, c := range []struct {
		text  string
		scale int
		want  int64
		p     Problem
	}{
		{"1517461200", 6, 1517461200000000, ""}, {"1517461200.123", 6, 1517461200123000, ""}, {"1517461200123", 3, 1517461200123000, ""},
		{"-1", -3, -1, ""}, {"-1001", -3, -2, ""}, {"1999", -3, 1, ""}, {"1.0000001", 6, 0, "is finer than a microsecond"}, {"1e30", 6, 0, TooLarge},
	} {
		n, p := ScaleTime([]byte(c.text), c.scale)
		if p != c.p || p == "" && n != c.want {
			t.Errorf("%s at %d: %d (%s), want %d (%s)", c.text, c.scale, n, p, c.want, c.p)
		}
	}
}
