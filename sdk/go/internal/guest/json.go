package guest

import (
	"strconv"
	"unicode/utf8"
)

// JSON writes JSON in the order of its calls, so that a manifest is the same bytes every time. A module does without encoding/json unless its user wants it.
type JSON struct {
	Bytes []byte
	comma bool
}

func (j *JSON) separate() {
	if j.comma {
		j.Bytes = append(j.Bytes, ',')
	}
	j.comma = false
}

// Open begins an object or array.
func (j *JSON) Open(c byte) {
	j.separate()
	j.Bytes = append(j.Bytes, c)
}

// Close ends it.
func (j *JSON) Close(c byte) {
	j.Bytes = append(j.Bytes, c)
	j.comma = true
}

// Key begins a field.
func (j *JSON) Key(k string) {
	j.String(k)
	j.Bytes = append(j.Bytes, ':')
	j.comma = false
}

// String writes a text value.
func (j *JSON) String(s string) {
	j.separate()
	j.Bytes = append(j.Bytes, '"')
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '"' || r == '\\':
			j.Bytes = append(j.Bytes, '\\', byte(r))
		case r == '\n':
			j.Bytes = append(j.Bytes, '\\', 'n')
		case r == '\t':
			j.Bytes = append(j.Bytes, '\\', 't')
		case r < 0x20:
			const hex = "0123456789abcdef"
			j.Bytes = append(j.Bytes, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		case r == utf8.RuneError && n == 1:
			j.Bytes = utf8.AppendRune(j.Bytes, r)
		default:
			j.Bytes = append(j.Bytes, s[i:i+n]...)
		}
		i += n
	}
	j.Bytes = append(j.Bytes, '"')
	j.comma = true
}

// Raw writes a value that is JSON already.
func (j *JSON) Raw(text []byte) {
	j.separate()
	j.Bytes = append(j.Bytes, text...)
	j.comma = true
}

// Text writes a text field.
func (j *JSON) Text(k, v string) {
	j.Key(k)
	j.String(v)
}

// Field writes a number field.
func (j *JSON) Field(k string, v int64) {
	j.Key(k)
	j.Bytes = strconv.AppendInt(j.Bytes, v, 10)
	j.comma = true
}

// Texts writes a field with a list of texts.
func (j *JSON) Texts(k string, vs []string) {
	j.Key(k)
	j.Open('[')
	for _, v := range vs {
		j.String(v)
	}
	j.Close(']')
}
