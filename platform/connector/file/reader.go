package file

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/format"
)

// position is where a reader stands in a file, counted in bytes before
// compression.
type position struct {
	Offset int64 `json:"offset"`
	Line   int64 `json:"line"` // lines read
}

func parsePosition(data connector.Position) (position, error) {
	var p position
	if err := json.Unmarshal(data, &p); err != nil {
		return p, fmt.Errorf("position %.100q: %w", data, err)
	}
	if p.Offset < 0 || p.Line < 0 {
		return p, fmt.Errorf("position %.100q: it is negative", data)
	}
	return p, nil
}

const readBuffer = 256 << 10

type reader struct {
	cfg     SourceConfig
	name    string
	file    *os.File // nil for standard input
	pump    *pump    // of standard input
	in      *bufio.Reader
	pos     position
	builder *batch.Builder
	decoder format.Decoder
	record  []byte
	broken  error // what ended the last fetch early
}

func (s *Source) open(name string, after connector.Position) (*reader, error) {
	r := &reader{cfg: s.cfg, name: name, builder: batch.NewBuilder(s.cfg.Schema)}
	from := position{}
	if after != nil {
		var err error
		if from, err = parsePosition(after); err != nil {
			return nil, err
		}
	}
	if err := r.start(from); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *reader) start(from position) error {
	var in io.Reader
	if r.name == Stdio {
		if from.Offset > 0 {
			return fmt.Errorf("%w: standard input cannot be read again from byte %d: run anew, or read from a file", connector.ErrPermanent, from.Offset)
		}
		r.pump = newPump(r.cfg.Stdin)
		in = r.pump
	} else {
		var err error
		if r.file, err = os.Open(r.name); err != nil {
			return err
		}
		in = r.file
	}
	if strings.HasSuffix(r.name, ".gz") {
		z, err := gzip.NewReader(in)
		if err != nil {
			return err
		}
		in = z
	}
	r.in = bufio.NewReaderSize(in, readBuffer)
	if r.pump != nil {
		return nil // its first line may be long in coming: Next waits for it
	}
	if err := r.begin(); err != nil {
		return err
	}
	return r.skip(from)
}

// begin reads the header and makes the decoder.
func (r *reader) begin() error {
	var header []string
	if r.cfg.Header {
		first, err := r.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		names := csv.NewReader(bytes.NewReader(first))
		if r.cfg.Comma != 0 {
			names.Comma = r.cfg.Comma
		}
		if header, err = names.Read(); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: its first line names no fields: %w", connector.ErrPermanent, err)
		}
	}
	var err error
	if r.decoder, err = r.cfg.NewDecoder(header); err != nil {
		return fmt.Errorf("%w: %w", connector.ErrPermanent, err)
	}
	return nil
}

// skip goes to the position; compressed files are read up to it.
func (r *reader) skip(to position) error {
	ahead := to.Offset - r.pos.Offset
	if ahead <= 0 {
		return nil
	}
	if r.file != nil && !strings.HasSuffix(r.name, ".gz") {
		info, err := r.file.Stat()
		if err != nil {
			return err
		}
		if info.Size() < to.Offset {
			return r.lost(to, info.Size())
		}
		if _, err := r.file.Seek(to.Offset, io.SeekStart); err != nil {
			return err
		}
		r.in.Reset(r.file)
		r.pos = to
		return nil
	}
	n, err := io.CopyN(io.Discard, r.in, ahead)
	if errors.Is(err, io.EOF) {
		return r.lost(to, r.pos.Offset+n)
	}
	if err != nil {
		return err
	}
	r.pos = to
	return nil
}

func (r *reader) lost(at position, size int64) error {
	return &connector.DataLost{Split: r.name, From: uint64(size), To: uint64(at.Offset),
		Reason: fmt.Sprintf("the file has %d bytes and was read up to byte %d: it was cut or replaced", size, at.Offset)}
}

var errTooLong = fmt.Errorf("a record is longer than %d MiB: is it lines?", MaxRecordBytes>>20)

// next gives the next record without its line end. The slice holds until the next call.
func (r *reader) next() ([]byte, error) {
	r.record = r.record[:0]
	for {
		part, err := r.in.ReadSlice('\n')
		r.pos.Offset += int64(len(part))
		r.record = append(r.record, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			if len(r.record) > MaxRecordBytes {
				return nil, errTooLong
			}
			continue
		}
		if len(part) > 0 {
			r.pos.Line++
		}
		if err != nil {
			if errors.Is(err, io.EOF) && len(r.record) > 0 {
				return trimEnd(r.record), nil
			}
			return nil, err
		}
		// An odd number of quotes says that the line end stands within them.
		if r.cfg.Quoted && bytes.Count(r.record, quote)%2 == 1 && len(r.record) <= MaxRecordBytes {
			continue
		}
		return trimEnd(r.record), nil
	}
}

var quote = []byte{'"'}

func trimEnd(b []byte) []byte {
	b = bytes.TrimSuffix(b, []byte{'\n'})
	return bytes.TrimSuffix(b, []byte{'\r'})
}

// Next gives the next records as one batch.
func (r *reader) Next(ctx context.Context) (connector.Fetch, error) {
	if r.broken != nil {
		return connector.Fetch{}, r.broken
	}
	if err := ctx.Err(); err != nil {
		return connector.Fetch{}, err
	}
	if r.pump != nil {
		r.pump.done = ctx.Done()
	}
	if r.decoder == nil {
		if err := r.begin(); err != nil {
			return connector.Fetch{}, fmt.Errorf("read %s: %w", r.name, err)
		}
	}
	var fetch connector.Fetch
	begin := r.pos.Offset
	for taken := 0; taken < maxBatchRows && r.pos.Offset-begin < maxBatchBytes; {
		rec, err := r.next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				err = fmt.Errorf("read %s at line %d: %w", r.name, r.pos.Line+1, lasting(err))
			}
			r.broken = err
			break
		}
		if len(bytes.TrimSpace(rec)) == 0 {
			continue
		}
		taken++
		if err := r.decoder.Decode(r.builder, &format.Record{Value: rec, TimeMicros: format.NoTime}); err != nil {
			fetch.Rejected = append(fetch.Rejected, r.reject(rec, err))
			continue
		}
		r.builder.EndRead(batch.NoTime, uint64(r.pos.Line), 0)
		// A pipe gives what it has: the next record may be long in coming.
		if r.name == Stdio && r.in.Buffered() == 0 {
			break
		}
	}
	if r.builder.Len() > 0 {
		fetch.Batch = r.builder.Finish(r.name, 0)
	}
	fetch.Bytes = int(r.pos.Offset - begin)
	fetch.After = r.Position()
	fetch.Drained = r.broken != nil
	if fetch.Batch == nil && len(fetch.Rejected) == 0 && r.broken != nil {
		return connector.Fetch{}, r.broken
	}
	return fetch, nil
}

func (r *reader) reject(rec []byte, err error) connector.Rejected {
	return connector.Rejected{
		Record:   connector.Raw{Value: bytes.Clone(rec), TimeMicros: batch.NoTime, Topic: r.name, Sequence: uint64(r.pos.Line)},
		Reason:   err.Error(),
		Position: r.name + ":" + strconv.FormatInt(r.pos.Line, 10),
	}
}

// Position is where the reader stands.
func (r *reader) Position() connector.Position {
	p := append(make([]byte, 0, 64), `{"offset":`...)
	p = strconv.AppendInt(p, r.pos.Offset, 10)
	p = append(p, `,"line":`...)
	p = strconv.AppendInt(p, r.pos.Line, 10)
	return append(p, '}')
}

// Close closes the file.
func (r *reader) Close() error {
	if r.pump != nil {
		close(r.pump.gone)
		r.pump = nil
	}
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}
