package wire

const arenaChunk = 16 << 10

// Arena hands out bytes that live until Reset. Once it has grown to what a call needs, it allocates nothing.
type Arena struct {
	buf  []byte
	used int // bytes handed out since Reset, in all chunks
}

// Reset takes all bytes back.
func (a *Arena) Reset() {
	if a.used > cap(a.buf) {
		a.buf = make([]byte, 0, a.used+a.used/4)
	}
	a.buf = a.buf[:0]
	a.used = 0
}

// Bytes returns n bytes of any content.
func (a *Arena) Bytes(n int) []byte {
	if cap(a.buf)-len(a.buf) < n {
		a.buf = make([]byte, 0, max(n, arenaChunk, 2*cap(a.buf)))
	}
	at := len(a.buf)
	a.buf = a.buf[:at+n]
	a.used += n
	return a.buf[at : at+n : at+n]
}

// Copy returns the arena's own copy of p.
func (a *Arena) Copy(p []byte) []byte {
	q := a.Bytes(len(p))
	copy(q, p)
	return q
}
