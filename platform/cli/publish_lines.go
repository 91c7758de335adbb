package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
)

// linger is how long a record from a slow pipe waits for company.
const linger = 100 * time.Millisecond

// errLinger says that nothing came for a while: what is gathered should go.
var errLinger = errors.New("nothing came for a while")

// lines cuts a stream into lines without waiting for it: reading runs beside
// the work, so that a quiet pipe does not hold back what came before.
type lines struct {
	chunks chan []byte
	free   chan []byte
	failed error // set before chunks is closed
	cur    []byte
	held   []byte // the buffer of cur
	carry  []byte // the beginning of a line that goes on in the next chunk
	line   []byte // a carried line that was given out
}

// newLines reads r from a goroutine of its own, which ends with the stream. A
// read of standard input cannot be interrupted; that goroutine ends with the process.
func newLines(r io.Reader, stop <-chan struct{}) *lines {
	l := &lines{chunks: make(chan []byte), free: make(chan []byte, 2)}
	l.free <- make([]byte, inputBuffer)
	l.free <- make([]byte, inputBuffer)
	go func() {
		defer close(l.chunks)
		for {
			var buf []byte
			select {
			case buf = <-l.free:
			case <-stop:
				return
			}
			n, err := r.Read(buf[:inputBuffer])
			if n > 0 {
				select {
				case l.chunks <- buf[:n]:
				case <-stop:
					return
				}
			} else {
				l.free <- buf
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					l.failed = err
				}
				return
			}
		}
	}()
	return l
}

// next gives a line without its end, valid until the next call. io.EOF is the
// end; errLinger says that the stream pauses.
func (l *lines) next() ([]byte, error) {
	for {
		if i := bytes.IndexByte(l.cur, '\n'); i >= 0 {
			line := l.cur[:i]
			l.cur = l.cur[i+1:]
			if len(l.carry) > 0 {
				l.line = append(append(l.line[:0], l.carry...), line...)
				l.carry, line = l.carry[:0], l.line
			}
			return bytes.TrimSuffix(line, []byte{'\r'}), nil
		}
		l.carry = append(l.carry, l.cur...)
		if len(l.carry) > maxLine {
			return nil, fail(ExitRefused, fmt.Errorf("a line is longer than %s", size(maxLine)), "a record has at most that much; is this a text file?")
		}
		l.cur = nil
		if l.held != nil {
			l.free <- l.held
			l.held = nil
		}
		if err := l.fetch(); err != nil {
			if errors.Is(err, io.EOF) && len(l.carry) > 0 {
				l.line = append(l.line[:0], l.carry...)
				l.carry = l.carry[:0]
				return bytes.TrimSuffix(l.line, []byte{'\r'}), nil
			}
			return nil, err
		}
	}
}

// fetch waits for a chunk, but no longer than linger.
func (l *lines) fetch() error {
	select {
	case chunk, ok := <-l.chunks:
		return l.take(chunk, ok)
	default:
	}
	wait := time.NewTimer(linger)
	defer wait.Stop()
	select {
	case chunk, ok := <-l.chunks:
		return l.take(chunk, ok)
	case <-wait.C:
		return errLinger
	}
}

func (l *lines) take(chunk []byte, ok bool) error {
	if !ok {
		if l.failed != nil {
			return l.failed
		}
		return io.EOF
	}
	l.cur, l.held = chunk, chunk
	return nil
}
