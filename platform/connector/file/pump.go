package file

import (
	"context"
	"io"
)

// pump reads standard input beside its reader, because a read of a terminal or a
// pipe cannot be taken back. Its goroutine ends with the input, or when it next
// gets something after the reader has gone.
type pump struct {
	chunks chan []byte
	gone   chan struct{} // closed when nobody reads any more
	err    error         // what ended the input; set before chunks is closed
	rest   []byte
	done   <-chan struct{} // ends the wait of the Next at hand
}

func newPump(in io.Reader) *pump {
	p := &pump{chunks: make(chan []byte, 1), gone: make(chan struct{})}
	go p.run(in)
	return p
}

func (p *pump) run(in io.Reader) {
	defer close(p.chunks)
	for {
		buf := make([]byte, 64<<10)
		n, err := in.Read(buf)
		if n > 0 {
			select {
			case p.chunks <- buf[:n]:
			case <-p.gone:
				return
			}
		}
		if err != nil {
			p.err = err
			return
		}
	}
}

// Read gives what came, or waits until something does or the Next at hand ends.
func (p *pump) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		select {
		case chunk, ok := <-p.chunks:
			if !ok {
				return 0, p.err
			}
			p.rest = chunk
		case <-p.done:
			return 0, context.Canceled
		}
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}
