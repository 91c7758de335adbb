package jetstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/format/json"
)

// ReadOptions say what Read gives.
type ReadOptions struct {
	Start Start
	Bound connector.Bound // UntilEnd: what is there now
}

// Found is a record and where it stands. Its slices hold until the callback returns.
type Found struct {
	Record
	Partition int
	Sequence  uint64
	Row       int
	// Typed: the record came in a frame of typed columns, and Value is it as JSON.
	Typed bool
	// Reason says why the message cannot be read; Value is its bytes then.
	Reason string
}

// Read gives the records of all partitions, in order per partition, one at a
// time, until each returns an error, ctx ends, or everything is read.
func Read(ctx context.Context, nc *nats.Conn, t Topic, o ReadOptions, each func(Found) error) error {
	t = t.Normalize()
	if o.Bound == "" {
		o.Bound = connector.Unbounded
	}
	cfg := SourceConfig{Topic: t, Start: o.Start, Bound: o.Bound}.normalize()
	if err := cfg.Validate(); err != nil {
		return err
	}
	if err := Verify(ctx, nc, t); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		turn sync.Mutex // each is called by one partition at a time
		wg   sync.WaitGroup
	)
	for p := range t.Partitions {
		wg.Go(func() {
			err := readPartition(ctx, nc, cfg, p, func(f Found) error {
				turn.Lock()
				defer turn.Unlock()
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				return each(f)
			})
			if err != nil && !errors.Is(err, io.EOF) {
				cancel(fmt.Errorf("read topic %s: %w", t.Name, err))
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// readPartition steps through a partition as a source's reader does, but takes
// frames of any schema apart.
func readPartition(ctx context.Context, nc *nats.Conn, cfg SourceConfig, partition int, each func(Found) error) error {
	src := &Source{cfg: cfg, nc: nc}
	r, err := openReader(ctx, src, partition, nil)
	if err != nil {
		return err
	}
	defer r.Close()
	r.drained = r.empty
	var show shower
	for !r.finished() {
		m, d, err := r.take(ctx, time.Second)
		if errors.Is(err, errQuiet) {
			continue
		}
		if err != nil {
			return err
		}
		if r.finishedBy(d) {
			return nil
		}
		if err := show.message(m, d, partition, each); err != nil {
			return err
		}
		r.pos.Sequence = d.stream
		r.drained = d.pending == 0
	}
	return nil
}

// shower takes messages apart for people.
type shower struct {
	frames  frame.StoredDecoder
	encoder *json.Encoder
	of      *schema.Schema
	text    []byte
}

func (s *shower) message(m *nats.Msg, d delivery, partition int, each func(Found) error) error {
	found := Found{Partition: partition, Sequence: d.stream}
	if m.Header == nil || m.Header.Get(headerFrame) != frameVersion1 {
		r, err := readRecord(m, micros(d))
		if err != nil {
			found.Reason = err.Error()
		}
		found.Record = r.public()
		return each(found)
	}
	var f frame.Stored
	if _, err := s.frames.Decode(m.Data, nil, &f); err != nil {
		found.Record, found.Reason = Record{Value: m.Data, TimeMicros: micros(d)}, err.Error()
		return each(found)
	}
	raw := f.Schema.Equal(schema.Raw())
	if !raw && s.of != f.Schema {
		s.encoder, s.of = json.NewEncoder(f.Schema), f.Schema
	}
	for row := range f.Rows {
		r := record{timeMicros: batch.NoTime}
		if f.Times != nil {
			r.timeMicros = f.Times[row]
		}
		if raw {
			if !f.Columns[rawKey].Null(row) {
				r.key = f.Columns[rawKey].BytesAt(row)
			}
			readRawRow(f.Columns, row, &r)
		} else {
			s.text = s.encoder.Append(s.text[:0], f.Columns, row)
			r.value = s.text
			if r.timeMicros == batch.NoTime {
				r.timeMicros = micros(d)
			}
		}
		found.Record, found.Row, found.Typed = r.public(), row, !raw
		if err := each(found); err != nil {
			return err
		}
	}
	return nil
}

func (r record) public() Record {
	return Record{Key: r.key, Value: r.value, TimeMicros: r.timeMicros, Headers: r.headers}
}
