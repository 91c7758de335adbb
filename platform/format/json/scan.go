package json

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/weirstream/weir/platform/format"
)

// MaxDepth is how deep objects and lists may be nested.
const MaxDepth = 512

// scanner walks over JSON text. Its methods leave pos behind what they read.
type scanner struct {
	src     []byte
	pos     int
	scratch []byte // unescaped text of the string read last
}

// syntax is the error of a text that is no JSON.
func (s *scanner) syntax(want string) error {
	return &format.Error{Offset: s.pos, Reason: fmt.Sprintf("not JSON: want %s, have %s", want, s.have())}
}

func (s *scanner) have() string {
	if s.pos >= len(s.src) {
		return "the end"
	}
	r, _ := utf8.DecodeRune(s.src[s.pos:])
	return fmt.Sprintf("%q", r)
}

// blanks skips white space and gives the byte behind it, or 0 at the end.
func (s *scanner) blanks() byte {
	for s.pos < len(s.src) {
		c := s.src[s.pos]
		if c > ' ' || (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
			return c
		}
		s.pos++
	}
	return 0
}

// Masks that work on eight bytes at once.
const (
	each  = 0x0101010101010101
	highs = 0x8080808080808080
)

// text reads a string at a quote. The result is a view of the source, or of
// scratch if there were escapes. ascii is false if a byte of it is not ASCII.
func (s *scanner) text() (t []byte, ascii bool, err error) {
	s.pos++
	start, i := s.pos, s.pos
	src := s.src
	var high uint64
	for i+8 <= len(src) {
		x := binary.LittleEndian.Uint64(src[i:])
		quote, slash := x^(each*'"'), x^(each*'\\')
		special := ((quote-each)&^quote | (slash-each)&^slash | (x-each*0x20)&^x) & highs
		if special != 0 {
			n := bits.TrailingZeros64(special)
			high |= x & (1<<n - 1)
			i += n / 8
			break
		}
		high |= x
		i += 8
	}
	for ; i < len(src); i++ {
		switch c := src[i]; {
		case c == '"':
			s.pos = i + 1
			return src[start:i], high&highs == 0, nil
		case c == '\\':
			return s.escaped(start, i)
		case c < 0x20:
			s.pos = i
			return nil, false, s.syntax("no control character in a string")
		default:
			high |= uint64(c)
		}
	}
	s.pos = len(src)
	return nil, false, s.syntax("the end of a string")
}

// escaped goes on with a string at its first escape.
func (s *scanner) escaped(start, i int) ([]byte, bool, error) {
	out := append(s.scratch[:0], s.src[start:i]...)
	for i < len(s.src) {
		switch c := s.src[i]; {
		case c == '"':
			s.pos, s.scratch = i+1, out
			return out, false, nil
		case c < 0x20:
			s.pos, s.scratch = i, out
			return nil, false, s.syntax("no control character in a string")
		case c != '\\':
			out = append(out, c)
			i++
		default:
			s.pos, s.scratch = i, out
			if i+1 >= len(s.src) {
				return nil, false, s.syntax("the end of a string")
			}
			if plain := escapes[s.src[i+1]]; plain != 0 {
				out = append(out, plain)
				i += 2
				continue
			}
			r, size := unescape(s.src[i:])
			if size == 0 {
				return nil, false, s.syntax(`an escape like \n or \u00e9`)
			}
			out = utf8.AppendRune(out, r)
			i += size
		}
	}
	s.pos, s.scratch = i, out
	return nil, false, s.syntax("the end of a string")
}

var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unescape reads \uXXXX, two of them for a surrogate pair. A lone surrogate is U+FFFD.
func unescape(b []byte) (r rune, size int) {
	r = hex4(b)
	if r < 0 {
		return 0, 0
	}
	if utf16.IsSurrogate(r) {
		if second := hex4(b[6:]); second >= 0 {
			if pair := utf16.DecodeRune(r, second); pair != utf8.RuneError {
				return pair, 12
			}
		}
		return utf8.RuneError, 6
	}
	return r, 6
}

func hex4(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// number reads a number and gives its text.
func (s *scanner) number() ([]byte, error) {
	start := s.pos
	if s.at('-') {
		s.pos++
	}
	switch {
	case s.at('0'):
		s.pos++
	case !s.digits():
		return nil, s.syntax("a digit")
	}
	if s.at('.') {
		s.pos++
		if !s.digits() {
			return nil, s.syntax("a digit")
		}
	}
	if s.at('e') || s.at('E') {
		s.pos++
		if s.at('-') || s.at('+') {
			s.pos++
		}
		if !s.digits() {
			return nil, s.syntax("a digit")
		}
	}
	return s.src[start:s.pos], nil
}

func (s *scanner) at(c byte) bool { return s.pos < len(s.src) && s.src[s.pos] == c }

func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.src) && s.src[s.pos]-'0' <= 9 {
		s.pos++
	}
	return s.pos > start
}

// word reads one of true, false and null.
func (s *scanner) word(w string) error {
	if end := s.pos + len(w); end <= len(s.src) && string(s.src[s.pos:end]) == w {
		s.pos = end
		return nil
	}
	return s.syntax("a value")
}

// skip reads over any value, checking it.
func (s *scanner) skip(depth int) error {
	switch c := s.blanks(); c {
	case '"':
		_, _, err := s.text()
		return err
	case '{':
		return s.members(depth, func([]byte) error { return s.skip(depth + 1) })
	case '[':
		return s.elements(depth, func() error { return s.skip(depth + 1) })
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		if c != '-' && c-'0' > 9 {
			return s.syntax("a value")
		}
		_, err := s.number()
		return err
	}
}

// members reads an object at its brace; each reads the value behind a name,
// which is valid until then.
func (s *scanner) members(depth int, each func(name []byte) error) error {
	if depth >= MaxDepth {
		return &format.Error{Offset: s.pos, Reason: fmt.Sprintf("nested deeper than %d levels: flatten the record", MaxDepth)}
	}
	s.pos++
	if s.blanks() == '}' {
		s.pos++
		return nil
	}
	for {
		if s.blanks() != '"' {
			return s.syntax("a name in quotes")
		}
		name, _, err := s.text()
		if err != nil {
			return err
		}
		if s.blanks() != ':' {
			return s.syntax("a colon")
		}
		s.pos++
		s.blanks()
		if err := each(name); err != nil {
			return err
		}
		switch s.blanks() {
		case ',':
			s.pos++
		case '}':
			s.pos++
			return nil
		default:
			return s.syntax("a comma or }")
		}
	}
}

// elements reads a list at its bracket; each reads one element.
func (s *scanner) elements(depth int, each func() error) error {
	if depth >= MaxDepth {
		return &format.Error{Offset: s.pos, Reason: fmt.Sprintf("nested deeper than %d levels: flatten the record", MaxDepth)}
	}
	s.pos++
	if s.blanks() == ']' {
		s.pos++
		return nil
	}
	for {
		s.blanks()
		if err := each(); err != nil {
			return err
		}
		switch s.blanks() {
		case ',':
			s.pos++
		case ']':
			s.pos++
			return nil
		default:
			return s.syntax("a comma or ]")
		}
	}
}

// end wants nothing but blanks to follow.
func (s *scanner) end() error {
	if s.blanks() != 0 || s.pos < len(s.src) {
		return s.syntax("the end of the record")
	}
	return nil
}
