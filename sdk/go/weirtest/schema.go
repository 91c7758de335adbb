// Package weirtest runs a declared function natively: the SDK's own dispatcher over real frames, with a virtual clock, cut into calls at random, on instances that are replaced and calls that are
// repeated at random, all from one seed. It writes and reads frames with code of its own. It must not know the platform, nor how package weir lays types over columns.
package weirtest

import (
	"fmt"
	"strconv"
	"strings"
)

// typ is a parsed type of a schema.
type typ struct {
	name             string // bool ... timestamp, decimal, list, struct, map
	null             bool
	precision, scale int
	fields           []column // struct; list: the element; map: key and value
}

// column is a parsed field of a schema.
type column struct {
	name string
	typ  typ
}

type schemaParser struct {
	text string
	at   int
}

func parseSchema(text string) ([]column, error) {
	p := &schemaParser{text: text}
	cols, err := p.fields()
	if err == nil && p.at < len(text) {
		err = fmt.Errorf("%q follows", text[p.at:])
	}
	if err != nil {
		return nil, fmt.Errorf("read schema %q: %w", text, err)
	}
	return cols, nil
}

func (p *schemaParser) take(s string) bool {
	if strings.HasPrefix(p.text[p.at:], s) {
		p.at += len(s)
		return true
	}
	return false
}

func (p *schemaParser) fields() ([]column, error) {
	var cols []column
	for {
		name, err := p.name()
		if err != nil {
			return nil, err
		}
		if !p.take(":") {
			return nil, fmt.Errorf("no colon behind %q", name)
		}
		t, err := p.typ()
		if err != nil {
			return nil, err
		}
		cols = append(cols, column{name, t})
		if !p.take(",") {
			return cols, nil
		}
	}
}

func (p *schemaParser) name() (string, error) {
	if p.take("`") {
		var b strings.Builder
		for p.at < len(p.text) {
			if p.take("``") {
				b.WriteByte('`')
			} else if p.take("`") {
				return b.String(), nil
			} else {
				b.WriteByte(p.text[p.at])
				p.at++
			}
		}
		return "", fmt.Errorf("a quoted name does not end")
	}
	n := strings.IndexAny(p.text[p.at:], ":,<>() ")
	if n <= 0 {
		return "", fmt.Errorf("a name is missing at %d", p.at)
	}
	p.at += n
	return p.text[p.at-n : p.at], nil
}

func (p *schemaParser) typ() (typ, error) {
	from := p.at
	for p.at < len(p.text) && (p.text[p.at] >= 'a' && p.text[p.at] <= 'z' || p.text[p.at] >= '0' && p.text[p.at] <= '9') {
		p.at++
	}
	t := typ{name: p.text[from:p.at]}
	var err error
	switch t.name {
	case "decimal":
		end := strings.IndexByte(p.text[p.at:], ')')
		if end < 0 || !p.take("(") {
			return t, fmt.Errorf("decimal without precision and scale")
		}
		a, b, _ := strings.Cut(p.text[p.at:p.at+end-1], ",")
		t.precision, _ = strconv.Atoi(a)
		t.scale, _ = strconv.Atoi(b)
		p.at += end
	case "struct":
		if !p.take("<") {
			return t, fmt.Errorf("struct without fields")
		}
		if t.fields, err = p.fields(); err != nil {
			return t, err
		}
		if !p.take(">") {
			return t, fmt.Errorf("struct does not end")
		}
	case "list", "map":
		if !p.take("<") {
			return t, fmt.Errorf("%s without types", t.name)
		}
		for {
			inner, err := p.typ()
			if err != nil {
				return t, err
			}
			t.fields = append(t.fields, column{typ: inner})
			if !p.take(",") {
				break
			}
		}
		if !p.take(">") {
			return t, fmt.Errorf("%s does not end", t.name)
		}
	default:
		if _, ok := widths[t.name]; !ok {
			return t, fmt.Errorf("unknown type %q", t.name)
		}
	}
	t.null = p.take("?")
	return t, nil
}

// widths are bytes a value; 0 for bits, -1 for offsets.
var widths = map[string]int{
	"bool": 0, "int8": 1, "int16": 2, "int32": 4, "int64": 8, "float32": 4, "float64": 8, "decimal": 16, "utf8": -1, "binary": -1, "date32": 4, "timestamp": 8,
}
