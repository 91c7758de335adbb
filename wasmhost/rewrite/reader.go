package rewrite

import "unicode/utf8"

// reader walks over bytes that nobody vouches for. After the first mistake it
// stays at its error and answers with zeroes, so that callers can check once.
type reader struct {
	buf  []byte
	pos  int
	base int // offset of buf[0] in the module, for messages
	err  *Error
}

func (r *reader) fail(msg string) {
	if r.err == nil {
		r.err = &Error{Kind: Malformed, Offset: r.base + r.pos, Msg: msg}
	}
	r.pos = len(r.buf)
}

func (r *reader) failKind(kind Kind, at int, msg, hint string) {
	if r.err == nil {
		r.err = &Error{Kind: kind, Offset: r.base + at, Msg: msg, Hint: hint}
	}
	r.pos = len(r.buf)
}

func (r *reader) done() bool { return r.pos >= len(r.buf) }

func (r *reader) byte() byte {
	if r.pos >= len(r.buf) {
		r.fail("unexpected end")
		return 0
	}
	b := r.buf[r.pos]
	r.pos++
	return b
}

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.buf)-r.pos {
		r.fail("unexpected end")
		return nil
	}
	b := r.buf[r.pos : r.pos+n : r.pos+n]
	r.pos += n
	return b
}

// u32 reads an unsigned LEB128 of at most 32 bits.
func (r *reader) u32() uint32 {
	if r.pos < len(r.buf) && r.buf[r.pos] < 0x80 {
		r.pos++
		return uint32(r.buf[r.pos-1])
	}
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		v |= uint64(b&0x7f) << shift
		if b&0x80 == 0 {
			if v > 1<<32-1 {
				r.fail("integer too large")
				return 0
			}
			return uint32(v)
		}
	}
	r.fail("integer representation too long")
	return 0
}

// sleb skips a signed LEB128 of at most bits bits and returns its value.
func (r *reader) sleb(bits int) int64 {
	var v int64
	limit := (bits + 6) / 7
	for i := 0; i < limit; i++ {
		b := r.byte()
		v |= int64(b&0x7f) << (7 * i)
		if b&0x80 == 0 {
			if s := 7 * (i + 1); s < 64 {
				v = v << (64 - s) >> (64 - s)
			}
			return v
		}
	}
	r.fail("integer representation too long")
	return 0
}

// count reads the length of a vector whose elements take at least one byte
// each, so that a hostile length cannot make us allocate.
func (r *reader) count() int {
	n := r.u32()
	if int64(n) > int64(len(r.buf)-r.pos) {
		r.fail("length out of bounds")
		return 0
	}
	return int(n)
}

func (r *reader) name() string {
	b := r.bytes(int(r.u32()))
	if !utf8.Valid(b) {
		r.fail("malformed UTF-8 encoding")
		return ""
	}
	return string(b)
}

// sub returns a reader over the next n bytes, with the same error position.
func (r *reader) sub(n int) *reader {
	at := r.base + r.pos
	return &reader{buf: r.bytes(n), base: at, err: r.err}
}

func appendU32(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func appendS32(b []byte, v int32) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if (v == 0 && c&0x40 == 0) || (v == -1 && c&0x40 != 0) {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func appendName(b []byte, s string) []byte {
	return append(appendU32(b, uint32(len(s))), s...)
}
