package row

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/weirstream/weir/abi/schema"
)

func wireOf(k schema.Kind) Wire {
	switch k {
	case schema.Float64:
		return WireFloat64
	case schema.Float32:
		return WireFloat32
	case schema.Decimal:
		return WireDecimal
	case schema.Utf8, schema.Binary, schema.List, schema.Struct, schema.Map:
		return WireBytes
	}
	return WireVarint
}

// maxJSONLevels bounds how deep a value of a row nests, as a schema does.
const maxJSONLevels = schema.MaxLevels + 1

// ToJSON shows a row to people: an object of the schema's fields by name, in their order, null where absent. Integers are
// numbers, decimals strings, binary base64, timestamps RFC 3339 with microseconds, NaN and infinities strings, maps lists of
// [key, value]. Fields with ids the schema does not have are left out.
func ToJSON(s *Schema, b []byte) ([]byte, error) {
	fields := make([]member, len(s.Fields))
	for i := range s.Fields {
		fields[i] = member{s.Fields[i].ID, s.Fields[i].Name, &s.Fields[i].Type}
	}
	return appendObject(nil, fields, b)
}

type member struct {
	id   int
	name string
	typ  *schema.Type
}

func membersOf(t *schema.Type) []member {
	out := make([]member, len(t.Fields))
	for i := range t.Fields {
		out[i] = member{i + 1, t.Fields[i].Name, &t.Fields[i].Type}
	}
	return out
}

func appendObject(dst []byte, fields []member, b []byte) ([]byte, error) {
	dst = append(dst, '{')
	r := NewReader(b)
	id, wire, ok := r.Next()
	for i, f := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendText(dst, f.name), ':')
		for ok && id < f.id {
			id, wire, ok = r.Next()
		}
		if !ok || id != f.id {
			dst = append(dst, "null"...)
			continue
		}
		var err error
		if dst, err = appendValue(dst, f.typ, wire, &r); err != nil {
			return nil, fmt.Errorf("field %s: %w", schema.QuoteName(f.name), err)
		}
	}
	for ok {
		_, _, ok = r.Next()
	}
	return append(dst, '}'), r.Err()
}

func appendText(dst []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always has a JSON form
	}
	return append(dst, text...)
}

func appendValue(dst []byte, t *schema.Type, wire Wire, v *Reader) ([]byte, error) {
	if want := wireOf(t.Kind); wire != want && !(t.Kind == schema.Float64 && wire == WireFloat32) {
		return nil, fmt.Errorf("%w: wire %d, %s has wire %d", ErrRow, wire, t, want)
	}
	switch t.Kind {
	case schema.Bool:
		return strconv.AppendBool(dst, v.Bool()), nil
	case schema.Float32, schema.Float64:
		return appendFloat(dst, v.Float64(), t.Kind), nil
	case schema.Decimal:
		scale, hi, lo := v.Decimal()
		if scale > schema.MaxPrecision {
			return nil, fmt.Errorf("%w: decimal scale %d", ErrRow, scale)
		}
		return appendText(dst, decimalText(hi, lo, scale)), nil
	case schema.Utf8:
		if !utf8.Valid(v.Bytes()) {
			return nil, fmt.Errorf("%w: not UTF-8", ErrRow)
		}
		return appendText(dst, string(v.Bytes())), nil
	case schema.Binary:
		return appendText(dst, base64.StdEncoding.EncodeToString(v.Bytes())), nil
	case schema.Timestamp:
		return appendText(dst, timeText(v.Int())), nil
	case schema.Struct:
		return appendObject(dst, membersOf(t), v.Bytes())
	case schema.List:
		return appendList(dst, v.Bytes(), t.Elem)
	case schema.Map:
		return appendEntries(dst, v.Bytes(), t)
	}
	return strconv.AppendInt(dst, v.Int(), 10), nil
}

const timeLayout = "2006-01-02T15:04:05.000000Z"

// timeText is RFC 3339 where its four digits of a year suffice, else the number itself.
func timeText(us int64) string {
	t := time.UnixMicro(us).UTC()
	if t.Year() < 0 || t.Year() > 9999 {
		return strconv.FormatInt(us, 10)
	}
	return t.Format(timeLayout)
}

func appendFloat(dst []byte, v float64, k schema.Kind) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return appendText(dst, strconv.FormatFloat(v, 'g', -1, 64))
	}
	bits := 64
	if k == schema.Float32 {
		bits = 32
	}
	return strconv.AppendFloat(dst, v, 'g', -1, bits)
}

func appendList(dst, b []byte, elem *schema.Type) ([]byte, error) {
	l, n, err := NewList(b)
	if err != nil {
		return nil, err
	}
	dst = append(dst, '[')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendElement(dst, &l, elem); err != nil {
			return nil, err
		}
	}
	return append(dst, ']'), l.End()
}

func appendElement(dst []byte, l *List, t *schema.Type) ([]byte, error) {
	wire := wireOf(t.Kind)
	v, null, err := l.Next(wire)
	if err != nil {
		return nil, err
	}
	if null {
		return append(dst, "null"...), nil
	}
	return appendValue(dst, t, wire, v)
}

func appendEntries(dst, b []byte, t *schema.Type) ([]byte, error) {
	l, n, err := NewList(b)
	if err != nil {
		return nil, err
	}
	dst = append(dst, '[')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '[')
		if dst, err = appendElement(dst, &l, t.Key); err != nil {
			return nil, err
		}
		dst = append(dst, ',')
		if dst, err = appendElement(dst, &l, t.Elem); err != nil {
			return nil, err
		}
		dst = append(dst, ']')
	}
	return append(dst, ']'), l.End()
}

func bigOf(hi int64, lo uint64) *big.Int {
	v := new(big.Int).Lsh(big.NewInt(hi), 64)
	return v.Add(v, new(big.Int).SetUint64(lo))
}

func decimalText(hi int64, lo uint64, scale int) string {
	v := bigOf(hi, lo)
	digits := new(big.Int).Abs(v).String()
	for len(digits) <= scale {
		digits = "0" + digits
	}
	if scale > 0 {
		digits = digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
	}
	if v.Sign() < 0 {
		return "-" + digits
	}
	return digits
}

// FromJSON makes a row of an object as ToJSON writes it. Absent and null are alike; unknown names are refused.
func FromJSON(s *Schema, text []byte) ([]byte, error) {
	fields := make([]member, len(s.Fields))
	for i := range s.Fields {
		fields[i] = member{s.Fields[i].ID, s.Fields[i].Name, &s.Fields[i].Type}
	}
	return parseObject(fields, text, 1)
}

func parseObject(fields []member, text []byte, level int) ([]byte, error) {
	if level > maxJSONLevels {
		return nil, fmt.Errorf("more than %d levels", maxJSONLevels)
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(text, &values); err != nil {
		return nil, err
	}
	dst := []byte{}
	for _, f := range fields {
		v, ok := values[f.name]
		delete(values, f.name)
		if !ok || isNull(v) {
			continue
		}
		value, err := parseValue(f.typ, v, level)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", schema.QuoteName(f.name), err)
		}
		dst = append(appendTag(dst, f.id, wireOf(f.typ.Kind)), value...)
	}
	for name := range values {
		return nil, fmt.Errorf("unknown field %q", name)
	}
	return dst, nil
}

func isNull(v json.RawMessage) bool { return bytes.Equal(bytes.TrimSpace(v), []byte("null")) }

// parseValue makes a value without tag.
func parseValue(t *schema.Type, text json.RawMessage, level int) (out []byte, err error) {
	var s string
	switch t.Kind {
	case schema.Bool:
		var v bool
		err = json.Unmarshal(text, &v)
		return AppendBoolValue(nil, v), err
	case schema.Float32, schema.Float64:
		return parseFloat(t.Kind, text)
	case schema.Struct:
		row, err := parseObject(membersOf(t), text, level+1)
		return AppendBytesValue(nil, row), err
	case schema.List, schema.Map:
		return parseList(t, text, level+1)
	case schema.Decimal, schema.Utf8, schema.Binary, schema.Timestamp:
		if err = json.Unmarshal(text, &s); err != nil {
			return nil, fmt.Errorf("want a string for %s: %w", t, err)
		}
	default:
		v, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, intBits(t.Kind))
		return AppendIntValue(nil, v), err
	}
	switch t.Kind {
	case schema.Decimal:
		return parseDecimal(t, s)
	case schema.Binary:
		b, err := base64.StdEncoding.DecodeString(s)
		return AppendBytesValue(nil, b), err
	case schema.Timestamp:
		if v, err := strconv.ParseInt(s, 10, 64); err == nil {
			return AppendIntValue(nil, v), nil
		}
		at, err := time.Parse(time.RFC3339Nano, s)
		return AppendIntValue(nil, at.UnixMicro()), err
	}
	return AppendBytesValue(nil, s), nil
}

func intBits(k schema.Kind) int { return 8 * k.Width() }

func parseFloat(k schema.Kind, text json.RawMessage) ([]byte, error) {
	var s string
	if json.Unmarshal(text, &s) != nil {
		s = string(bytes.TrimSpace(text))
	}
	v, err := strconv.ParseFloat(s, intBits(k))
	if k == schema.Float32 {
		return AppendFloat32Value(nil, float32(v)), err
	}
	return AppendFloat64Value(nil, v), err
}

func parseDecimal(t *schema.Type, s string) ([]byte, error) {
	whole, fraction, _ := cutPoint(s)
	if len(fraction) > t.Scale {
		return nil, fmt.Errorf("decimal %q has %d digits after the point, %s has %d", s, len(fraction), t, t.Scale)
	}
	for len(fraction) < t.Scale {
		fraction += "0"
	}
	v, ok := new(big.Int).SetString(whole+fraction, 10)
	if !ok || len(new(big.Int).Abs(v).String()) > t.Precision {
		return nil, fmt.Errorf("decimal %q does not fit %s", s, t)
	}
	low := new(big.Int).And(v, new(big.Int).SetUint64(math.MaxUint64))
	return AppendDecimalValue(nil, t.Scale, new(big.Int).Rsh(v, 64).Int64(), low.Uint64()), nil
}

func cutPoint(s string) (whole, fraction string, found bool) {
	for i := range len(s) {
		if s[i] == '.' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

func parseList(t *schema.Type, text json.RawMessage, level int) ([]byte, error) {
	if level > maxJSONLevels {
		return nil, fmt.Errorf("more than %d levels", maxJSONLevels)
	}
	var items []json.RawMessage
	if err := json.Unmarshal(text, &items); err != nil {
		return nil, fmt.Errorf("want a list for %s: %w", t, err)
	}
	body := AppendCount(nil, len(items))
	var err error
	for _, item := range items {
		if t.Kind == schema.List {
			body, err = parseElement(body, t.Elem, item, level)
		} else {
			var pair []json.RawMessage
			if err := json.Unmarshal(item, &pair); err != nil || len(pair) != 2 || isNull(pair[0]) {
				return nil, fmt.Errorf("want [key, value] for an entry of %s, have %.40s", t, item)
			}
			if body, err = parseElement(body, t.Key, pair[0], level); err == nil {
				body, err = parseElement(body, t.Elem, pair[1], level)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return AppendBytesValue(nil, body), nil
}

func parseElement(dst []byte, t *schema.Type, item json.RawMessage, level int) ([]byte, error) {
	if isNull(item) {
		return AppendAbsent(dst), nil
	}
	v, err := parseValue(t, item, level)
	return append(AppendPresent(dst), v...), err
}
