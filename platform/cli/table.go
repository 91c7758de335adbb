package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// table aligns columns for people. Numbers stand right, all else left. Cells
// may hold colours, which take no room.
type table struct {
	heads []string
	right []bool
	rows  [][]string
}

// newTable makes a table; a head that begins with ">" stands right.
func newTable(heads ...string) *table {
	t := &table{}
	for _, h := range heads {
		right := strings.HasPrefix(h, ">")
		t.heads = append(t.heads, strings.TrimPrefix(h, ">"))
		t.right = append(t.right, right)
	}
	return t
}

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) print(w io.Writer, p paint) error {
	widths := make([]int, len(t.heads))
	for i, h := range t.heads {
		widths[i] = width(h)
		for _, r := range t.rows {
			widths[i] = max(widths[i], width(r[i]))
		}
	}
	var b strings.Builder
	line := func(cells []string, dress func(string) string) {
		for i, c := range cells {
			if i > 0 {
				b.WriteString("  ")
			}
			gap := strings.Repeat(" ", widths[i]-width(c))
			switch {
			case t.right[i]:
				b.WriteString(gap + dress(c))
			case i == len(cells)-1:
				b.WriteString(dress(c)) // no blanks at the end of a line
			default:
				b.WriteString(dress(c) + gap)
			}
		}
		b.WriteByte('\n')
	}
	line(t.heads, p.dim)
	for _, r := range t.rows {
		line(r, func(s string) string { return s })
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// width counts the characters that show.
func width(s string) int {
	n := 0
	for len(s) > 0 {
		if strings.HasPrefix(s, "\x1b[") {
			if end := strings.IndexByte(s, 'm'); end >= 0 {
				s = s[end+1:]
				continue
			}
		}
		_, size := utf8.DecodeRuneInString(s)
		s = s[size:]
		n++
	}
	return n
}

// pairs prints "name: value" lines with the values aligned; empty values are left out.
func pairs(w io.Writer, p paint, namesAndValues ...string) error {
	widest := 0
	for i := 0; i < len(namesAndValues); i += 2 {
		if namesAndValues[i+1] != "" {
			widest = max(widest, len(namesAndValues[i]))
		}
	}
	var b strings.Builder
	for i := 0; i < len(namesAndValues); i += 2 {
		name, value := namesAndValues[i], namesAndValues[i+1]
		if value != "" {
			b.WriteString(p.dim(name) + strings.Repeat(" ", widest-len(name)+2) + value + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// count writes a number in groups of three: 1,234,567.
func count(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size writes bytes with a binary unit.
func size(n uint64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return strconv.FormatUint(n, 10) + " B"
	}
	v, u := float64(n), -1
	for v >= 1024 && u < len(units)-1 {
		v /= 1024
		u++
	}
	return fmt.Sprintf("%.1f %ciB", v, units[u])
}

// moment writes a time in UTC to the second; nothing for none.
func moment(t *timestamppb.Timestamp) string {
	if t == nil {
		return "-"
	}
	return t.AsTime().UTC().Format("2006-01-02 15:04:05Z")
}

// percent writes a ratio of 0..1.
func percent(r float64) string { return strconv.FormatFloat(r*100, 'f', 0, 64) + "%" }

// span writes a duration for people: three significant places are enough.
func span(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// period writes a time limit without the zeros of time.Duration: 24h, not 24h0m0s.
func period(ms int64) string {
	s := (time.Duration(ms) * time.Millisecond).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// shortDigest cuts sha256:<hex> to what people compare.
func shortDigest(d string) string {
	if hex, ok := strings.CutPrefix(d, "sha256:"); ok && len(hex) > 12 {
		return "sha256:" + hex[:12]
	}
	return d
}

// ttl says how long a state lives, if not for ever.
func ttl(ms int64) string {
	if ms == 0 {
		return ""
	}
	return ", ttl " + period(ms)
}
