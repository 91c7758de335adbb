package weirtest

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fromJSON reads one value of a column. Timestamps are RFC 3339 texts, dates 2006-01-02, binary base64, decimals texts or numbers.
func fromJSON(t typ, text json.RawMessage) (any, error) {
	if len(text) == 0 || string(text) == "null" {
		return nil, nil
	}
	var s string
	if text[0] == '"' {
		if err := json.Unmarshal(text, &s); err != nil {
			return nil, err
		}
	}
	wrong := fmt.Errorf("%s is no %s", text, t.name)
	switch t.name {
	case "bool":
		var b bool
		if json.Unmarshal(text, &b) != nil {
			return nil, wrong
		}
		return b, nil
	case "utf8":
		if text[0] != '"' {
			return nil, wrong
		}
		return s, nil
	case "binary":
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil || text[0] != '"' {
			return nil, wrong
		}
		return b, nil
	case "timestamp":
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			return nil, wrong
		}
		return at.UnixMicro(), nil
	case "date32":
		at, err := time.Parse(time.DateOnly, s)
		if err != nil {
			return nil, wrong
		}
		return at.Unix() / 86400, nil
	case "float32", "float64":
		f, err := strconv.ParseFloat(strings.Trim(string(text), `"`), 64)
		if err != nil {
			return nil, wrong
		}
		return f, nil
	case "decimal":
		r, ok := new(big.Rat).SetString(strings.Trim(string(text), `"`))
		if !ok {
			return nil, wrong
		}
		r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.scale)), nil)))
		if !r.IsInt() {
			return nil, wrong
		}
		return r.Num(), nil
	case "list", "struct", "map":
		return nestedFromJSON(t, text, wrong)
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if bits := 8 * widths[t.name]; err != nil || n>>(bits-1) != n>>63 {
		return nil, wrong
	}
	return n, nil
}

// appendJSON writes a value of a column.
func appendJSON(b []byte, t typ, v any) []byte {
	switch x := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, x)
	case float64:
		if t.name == "float32" {
			return strconv.AppendFloat(b, x, 'g', -1, 32)
		}
		return strconv.AppendFloat(b, x, 'g', -1, 64)
	case []byte:
		return appendText(b, base64.StdEncoding.EncodeToString(x))
	case *big.Int:
		return appendText(b, new(big.Rat).SetFrac(x, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.scale)), nil)).FloatString(t.scale))
	case string:
		return appendText(b, x)
	case int64:
		switch t.name {
		case "timestamp":
			return appendText(b, time.UnixMicro(x).UTC().Format(time.RFC3339Nano))
		case "date32":
			return appendText(b, time.Unix(x*86400, 0).UTC().Format(time.DateOnly))
		}
		return strconv.AppendInt(b, x, 10)
	}
	return appendNestedJSON(b, t, v)
}

// nestedFromJSON reads a list as an array, a struct and a map as objects; a map's keys are the texts of its key type.
func nestedFromJSON(t typ, text json.RawMessage, wrong error) (any, error) {
	if t.name == "list" {
		var items []json.RawMessage
		if json.Unmarshal(text, &items) != nil {
			return nil, wrong
		}
		list := []any{}
		for _, item := range items {
			x, err := fromJSON(t.fields[0].typ, item)
			if err != nil {
				return nil, err
			}
			list = append(list, x)
		}
		return list, nil
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil {
		return nil, wrong
	}
	if t.name == "struct" {
		fields := map[string]any{}
		for _, f := range t.fields {
			x, err := fromJSON(f.typ, members[f.name])
			if err != nil {
				return nil, fmt.Errorf("field %s: %w", f.name, err)
			}
			fields[f.name] = x
		}
		return fields, nil
	}
	entries, headers := []entry{}, map[string][]byte{}
	for name, member := range members {
		key, err := any(name), error(nil)
		if t.fields[0].typ.name != "utf8" {
			key, err = fromJSON(t.fields[0].typ, json.RawMessage(name))
		}
		if err != nil {
			return nil, err
		}
		value, err := fromJSON(t.fields[1].typ, member)
		if err != nil {
			return nil, err
		}
		if bytes, ok := value.([]byte); ok {
			headers[name] = bytes
		}
		entries = append(entries, entry{key, value})
	}
	if t.isHeaders() {
		return headers, nil
	}
	slices.SortFunc(entries, func(a, b entry) int {
		if x, ok := a.key.(int64); ok {
			return cmp.Compare(x, b.key.(int64))
		}
		return strings.Compare(a.key.(string), b.key.(string))
	})
	return entries, nil
}

func appendNestedJSON(b []byte, t typ, v any) []byte {
	first := true
	comma := func() {
		if !first {
			b = append(b, ',')
		}
		first = false
	}
	switch x := v.(type) {
	case []any:
		b = append(b, '[')
		for _, item := range x {
			comma()
			b = appendJSON(b, t.fields[0].typ, item)
		}
		return append(b, ']')
	case map[string]any:
		b = append(b, '{')
		for _, f := range t.fields {
			comma()
			b = appendJSON(append(appendText(b, f.name), ':'), f.typ, x[f.name])
		}
		return append(b, '}')
	case []entry:
		b = append(b, '{')
		for _, e := range x {
			comma()
			b = appendJSON(append(appendText(b, fmt.Sprint(e.key)), ':'), t.fields[1].typ, e.value)
		}
		return append(b, '}')
	case map[string][]byte:
		b = append(b, '{')
		for _, k := range slices.Sorted(maps.Keys(x)) {
			comma()
			b = appendJSON(append(appendText(b, k), ':'), t.fields[1].typ, x[k])
		}
		return append(b, '}')
	}
	return append(b, fmt.Sprint(v)...)
}

func appendText(b []byte, s string) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if e.Encode(s) != nil {
		return strconv.AppendQuote(b, s)
	}
	return append(b, bytes.TrimSpace(out.Bytes())...)
}
