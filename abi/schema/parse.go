package schema

import (
	"fmt"
	"strings"
)

// Error is a refusal of a schema text, with the place in it.
type Error struct {
	Text   string
	Offset int // of the first byte that is wrong
	Reason string
}

func (e *Error) Error() string {
	from := max(0, e.Offset-24)
	return fmt.Sprintf("schema at byte %d, after %q: %s", e.Offset, e.Text[from:e.Offset], e.Reason)
}

// Parse reads the canonical text of a schema. Only the canonical form is accepted: no blanks, no needless backquotes or
// leading zeros, so that one schema has one text and one fingerprint. Errors are of type *Error.
func Parse(text string) (*Schema, error) {
	p := parser{text: text}
	fields, err := p.fields(1, "")
	if err != nil {
		return nil, err
	}
	s, err := New(fields...)
	if err != nil {
		return nil, p.errAt(0, strings.TrimPrefix(err.Error(), "schema: "))
	}
	return s, nil
}

// ParseType reads the canonical text of one type, as `list<int32?>`.
func ParseType(text string) (Type, error) {
	p := parser{text: text}
	t, err := p.typ(1)
	if err != nil {
		return Type{}, err
	}
	if p.pos != len(text) {
		return Type{}, p.err("the type ends here: remove the rest")
	}
	t, err = t.Finish()
	if err != nil {
		return Type{}, p.errAt(0, strings.TrimPrefix(err.Error(), "schema: "))
	}
	return t, nil
}

// ParseName reads a field name, bare or in backquotes, from the beginning of text and returns what follows it.
func ParseName(text string) (name, rest string, err error) {
	p := parser{text: text}
	name, err = p.name()
	return name, text[p.pos:], err
}

// QuoteName writes a field name as it stands in a schema's text.
func QuoteName(name string) string { return quoted(name) }

type parser struct {
	text  string
	pos   int
	total int
}

func (p *parser) errAt(pos int, reason string) error {
	return &Error{Text: p.text, Offset: pos, Reason: reason}
}

func (p *parser) err(format string, args ...any) error {
	return p.errAt(p.pos, fmt.Sprintf(format, args...))
}

func (p *parser) eat(c byte) bool {
	if p.pos < len(p.text) && p.text[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

func (p *parser) expect(c byte) error {
	if !p.eat(c) {
		return p.err("want %q, have %s", c, p.have())
	}
	return nil
}

func (p *parser) have() string {
	if p.pos >= len(p.text) {
		return "the end"
	}
	if c := p.text[p.pos]; c == ' ' || c == '\t' || c == '\n' {
		return "a blank: schemas are written without blanks"
	}
	return fmt.Sprintf("%q", p.text[p.pos])
}

// fields reads fields up to the end of the text or the closing byte.
func (p *parser) fields(level int, closing string) ([]Field, error) {
	var fields []Field
	seen := map[string]bool{}
	for {
		if p.total++; p.total > MaxFields {
			return nil, p.err("more than %d fields, all levels together: split the record", MaxFields)
		}
		at := p.pos
		name, err := p.name()
		if err != nil {
			return nil, err
		}
		if seen[name] {
			return nil, p.errAt(at, fmt.Sprintf("field %s appears twice: rename one", quoted(name)))
		}
		seen[name] = true
		if err := p.expect(':'); err != nil {
			return nil, err
		}
		t, err := p.typ(level)
		if err != nil {
			return nil, err
		}
		fields = append(fields, Field{name, t})
		if p.eat(',') {
			continue
		}
		if closing == "" && p.pos == len(p.text) || closing != "" && p.eat(closing[0]) {
			return fields, nil
		}
		return nil, p.err("want ',' or the end of the fields, have %s", p.have())
	}
}

func (p *parser) name() (string, error) {
	start := p.pos
	if p.eat('`') {
		return p.quotedName(start)
	}
	for p.pos < len(p.text) && nameByte(p.text[p.pos]) {
		p.pos++
	}
	name := p.text[start:p.pos]
	if name == "" {
		return "", p.err("want a field name, have %s (names with other bytes stand in backquotes)", p.have())
	}
	if name[0] >= '0' && name[0] <= '9' {
		return "", p.errAt(start, "a name that begins with a digit stands in backquotes")
	}
	if err := checkName(name); err != nil {
		return "", p.errAt(start, strings.TrimPrefix(err.Error(), "schema: "))
	}
	return name, nil
}

func (p *parser) quotedName(start int) (string, error) {
	var b strings.Builder
	for {
		if p.pos >= len(p.text) {
			return "", p.errAt(start, "the backquoted name is not closed")
		}
		c := p.text[p.pos]
		p.pos++
		if c == '`' && !p.eat('`') {
			break
		}
		b.WriteByte(c)
	}
	name := b.String()
	if err := checkName(name); err != nil {
		return "", p.errAt(start, strings.TrimPrefix(err.Error(), "schema: "))
	}
	if bare(name) {
		return "", p.errAt(start, fmt.Sprintf("name %s needs no backquotes: write it bare", name))
	}
	return name, nil
}

func (p *parser) typ(level int) (Type, error) {
	if level > MaxLevels {
		return Type{}, p.err("more than %d levels: flatten the record", MaxLevels)
	}
	start := p.pos
	for p.pos < len(p.text) && (p.text[p.pos] >= 'a' && p.text[p.pos] <= 'z' || p.text[p.pos] >= '0' && p.text[p.pos] <= '9') {
		p.pos++
	}
	t := Type{Kind: kindOf(p.text[start:p.pos])}
	var err error
	switch t.Kind {
	case Invalid:
		if start == p.pos {
			return t, p.err("want a type, have %s", p.have())
		}
		return t, p.errAt(start, fmt.Sprintf("unknown type %q: have bool, int8 to int64, float32, float64, decimal(p,s), utf8, binary, date32, timestamp, list<>, struct<>, map<>", clip(p.text[start:p.pos])))
	case Decimal:
		err = p.decimal(&t)
	case List:
		err = p.list(&t, level)
	case Struct:
		if err = p.expect('<'); err == nil {
			t.Fields, err = p.fields(level+1, ">")
		}
	case Map:
		err = p.mapping(&t, level)
	}
	t.Nullable = err == nil && p.eat('?')
	return t, err
}

func clip(s string) string { return s[:min(len(s), 32)] }

func kindOf(name string) Kind {
	for k, n := range kindNames {
		if n == name {
			return Kind(k)
		}
	}
	return Invalid
}

func (p *parser) decimal(t *Type) (err error) {
	if err = p.expect('('); err != nil {
		return err
	}
	at := p.pos
	if t.Precision, err = p.number(); err != nil {
		return err
	}
	if err = p.expect(','); err != nil {
		return err
	}
	if t.Scale, err = p.number(); err != nil {
		return err
	}
	if err := checkDecimal(t.Precision, t.Scale); err != nil {
		return p.errAt(at, strings.TrimPrefix(err.Error(), "schema: "))
	}
	return p.expect(')')
}

func (p *parser) number() (int, error) {
	start, n := p.pos, 0
	for p.pos < len(p.text) && p.text[p.pos] >= '0' && p.text[p.pos] <= '9' && p.pos-start < 3 {
		n = n*10 + int(p.text[p.pos]-'0')
		p.pos++
	}
	if p.pos == start {
		return 0, p.err("want a number, have %s", p.have())
	}
	if p.text[start] == '0' && p.pos-start > 1 {
		return 0, p.errAt(start, "numbers have no leading zeros")
	}
	return n, nil
}

func (p *parser) list(t *Type, level int) error {
	if err := p.expect('<'); err != nil {
		return err
	}
	elem, err := p.typ(level + 1)
	if err != nil {
		return err
	}
	t.Elem = &elem
	return p.expect('>')
}

func (p *parser) mapping(t *Type, level int) error {
	if err := p.expect('<'); err != nil {
		return err
	}
	at := p.pos
	k, err := p.typ(level + 1)
	if err != nil {
		return err
	}
	if k.Nullable {
		return p.errAt(at, "map keys are never null: drop the ?")
	}
	if err := p.expect(','); err != nil {
		return err
	}
	v, err := p.typ(level + 1)
	if err != nil {
		return err
	}
	t.Key, t.Elem = &k, &v
	return p.expect('>')
}
