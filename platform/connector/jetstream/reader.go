package jetstream

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/weirstream/weir/platform/connector"
)

// reader reads one partition.
type reader struct {
	cfg       SourceConfig
	nc        *nats.Conn
	partition int

	feed    *feed
	pos     position
	decode  *decoding
	held    *nats.Msg // a message that was taken and not yet read
	heldAt  delivery
	end     uint64 // bounded: the last sequence to read
	empty   bool   // nothing waited when it was opened
	drained bool   // nothing waits behind pos, as far as is known
	check   time.Time
}

func openReader(ctx context.Context, s *Source, partition int, after connector.Position) (*reader, error) {
	r := &reader{cfg: s.cfg, nc: s.nc, partition: partition, decode: newDecoding(s.cfg, partition)}
	from, err := r.begin(ctx, after)
	if err != nil {
		return nil, err
	}
	if s.cfg.Bound == connector.UntilEnd {
		if r.end, err = LastSequence(ctx, r.nc, r.cfg.Topic, partition); err != nil {
			return nil, err
		}
	}
	if r.feed, err = openFeed(ctx, r.nc, r.cfg.Topic, partition, from); err != nil {
		return nil, err
	}
	if after == nil {
		r.pos = position{Incarnation: r.cfg.Topic.Incarnation, Sequence: r.feed.last}
	}
	r.empty = r.feed.consumer.pending == 0
	r.check = time.Now().Add(r.cfg.CheckInterval)
	return r, nil
}

// begin finds where to start, and whether the stream still holds it.
func (r *reader) begin(ctx context.Context, after connector.Position) (startAt, error) {
	if after == nil {
		s, err := r.cfg.Topic.streamInfo(ctx, r.nc)
		if err != nil {
			return startAt{}, err
		}
		if s.incarnation != r.cfg.Topic.Incarnation {
			return startAt{}, r.recreated(s)
		}
		switch r.cfg.Start.Kind {
		case Latest:
			return startAt{sequence: s.last + 1}, nil
		case AtSequence:
			return startAt{sequence: r.cfg.Start.Sequence}, nil
		case AtTime:
			return startAt{time: r.cfg.Start.Time}, nil
		}
		return startAt{sequence: max(s.first, 1)}, nil
	}
	var err error
	if r.pos, err = parsePosition(after); err != nil {
		return startAt{}, err
	}
	if err := r.verify(ctx); err != nil {
		return startAt{}, err
	}
	return r.afterPos(), nil
}

func (r *reader) afterPos() startAt {
	if r.pos.Row > 0 {
		return startAt{sequence: r.pos.Sequence}
	}
	return startAt{sequence: r.pos.Sequence + 1}
}

// Next gives a frame's rows, or the records that wait, as one batch.
func (r *reader) Next(ctx context.Context) (connector.Fetch, error) {
	if r.decode.more() {
		return r.rows()
	}
	if r.empty {
		r.empty, r.drained = false, true
		return connector.Fetch{After: r.Position(), Drained: true}, nil
	}
	for {
		if r.finished() {
			return connector.Fetch{}, io.EOF
		}
		if time.Now().After(r.check) {
			fetch, moved, err := r.checks(ctx)
			if err != nil || moved {
				return fetch, err
			}
		}
		m, d, err := r.take(ctx, max(time.Until(r.check), time.Millisecond))
		if errors.Is(err, errQuiet) {
			continue
		}
		if errors.Is(err, ErrNoTopic) {
			return connector.Fetch{}, r.gone()
		}
		if err != nil {
			return connector.Fetch{}, err
		}
		if r.finishedBy(d) {
			return connector.Fetch{}, io.EOF
		}
		r.drained = false
		if m.Header != nil && m.Header.Get(headerFrame) == frameVersion1 {
			r.decode.open(m, d, int(r.pos.skip(d.stream)))
			return r.rows()
		}
		return r.records(ctx, m, d)
	}
}

func (r *reader) take(ctx context.Context, wait time.Duration) (*nats.Msg, delivery, error) {
	if m := r.held; m != nil {
		r.held = nil
		return m, r.heldAt, nil
	}
	return r.feed.next(ctx, wait)
}

// skip is how many rows of the message at a sequence were given already.
func (p position) skip(sequence uint64) int32 {
	if p.Sequence == sequence {
		return p.Row
	}
	return 0
}

// finished tells whether a bounded split has nothing more to give.
func (r *reader) finished() bool {
	return r.cfg.Bound == connector.UntilEnd && (r.drained || r.pos.Sequence >= r.end && r.pos.Row == 0)
}

// finishedBy tells whether a message stands behind a bounded split's end.
func (r *reader) finishedBy(d delivery) bool {
	return r.cfg.Bound == connector.UntilEnd && d.stream > r.end
}

// rows gives the next rows of the frame at hand.
func (r *reader) rows() (connector.Fetch, error) {
	fetch := r.decode.next()
	d := r.decode.delivery
	r.pos = position{Incarnation: r.pos.Incarnation, Sequence: d.stream, TimeNanos: d.timeNanos}
	if r.decode.more() {
		r.pos.Row = int32(r.decode.row)
	}
	return r.finish(fetch, d), nil
}

// records gives the record at hand and those that wait behind it.
func (r *reader) records(ctx context.Context, m *nats.Msg, d delivery) (connector.Fetch, error) {
	var fetch connector.Fetch
	bytes, taken := 0, 0
	for {
		r.decode.record(m, d, &fetch)
		r.pos = position{Incarnation: r.pos.Incarnation, Sequence: d.stream, TimeNanos: d.timeNanos}
		bytes += len(m.Data)
		taken++
		if taken == maxBatchRows || bytes >= maxBatchBytes || d.pending == 0 {
			break
		}
		next, at, err := r.feed.next(ctx, 0)
		if err != nil {
			break // nothing more waits here, or the next call meets the error again
		}
		if r.finishedBy(at) || next.Header != nil && next.Header.Get(headerFrame) == frameVersion1 {
			r.held, r.heldAt = next, at
			break
		}
		m, d = next, at
	}
	fetch.Batch = r.decode.finish()
	fetch.Bytes = bytes
	return r.finish(fetch, d), nil
}

func (r *reader) finish(fetch connector.Fetch, d delivery) connector.Fetch {
	fetch.After = r.Position()
	fetch.Lag = d.pending
	r.drained = d.pending == 0 && r.pos.Row == 0 && r.held == nil
	fetch.Drained = r.drained
	return fetch
}

// Position is where the reader stands.
func (r *reader) Position() connector.Position { return r.pos.append(make([]byte, 0, 112)) }

// Close ends the reader.
func (r *reader) Close() error {
	r.feed.close()
	r.decode.close()
	return nil
}
