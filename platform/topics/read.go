package topics

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// Bounds of what Read gives in one go.
const (
	readRecords = 1000
	readBytes   = 1 << 20
	readLinger  = 20 * time.Millisecond // how long a record waits for others
)

// headerError goes with a message that cannot be read; it stands in no stored message.
const headerError = "Weir-Error"

// Read gives a topic's records, in order per partition, in portions.
func (s *Service) Read(ctx context.Context, r *weirv1.ReadRequest, send func(*weirv1.ReadResponse) error) error {
	t, err := s.find("read", r.GetNamespace(), r.GetTopic())
	if err != nil {
		return err
	}
	for _, p := range r.GetPartitions() {
		if int(p) >= t.Partitions {
			return refuse(catalog.ErrInvalid, "read topic %s: partition %d: it has 0 to %d", t.Name, p, t.Partitions-1)
		}
	}
	options := jetstream.ReadOptions{}
	if r.GetUntilEnd() {
		options.Bound = connector.UntilEnd
	}
	switch from := r.GetFrom().(type) {
	case *weirv1.ReadRequest_Sequence:
		if from.Sequence > 0 {
			options.Start = jetstream.Start{Kind: jetstream.AtSequence, Sequence: from.Sequence}
		}
	case *weirv1.ReadRequest_End:
		if from.End {
			options.Start = jetstream.Start{Kind: jetstream.Latest}
		}
	}
	out := &portions{send: send}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lingering := make(chan struct{})
	go func() {
		defer close(lingering)
		out.linger(ctx, cancel)
	}()
	most := quota{limit: r.GetLimit()}
	err = jetstream.Read(ctx, s.options.Conn, Convert(t), options, func(f jetstream.Found) error {
		if len(r.GetPartitions()) > 0 && !slices.Contains(r.GetPartitions(), uint32(f.Partition)) {
			return nil
		}
		if most.spent() {
			return errStop // by then other partitions may have some on the way
		}
		if err := out.add(record(f)); err != nil {
			return err
		}
		return most.take()
	})
	cancel(nil)
	<-lingering // it sends nothing more
	if err != nil && !errors.Is(err, errStop) {
		return s.explain(err)
	}
	return out.flush()
}

// quota counts records up to a limit; 0: there is none.
type quota struct{ limit, taken uint64 }

func (q *quota) spent() bool { return q.limit > 0 && q.taken >= q.limit }

// take counts one, and ends the reading with the last.
func (q *quota) take() error {
	q.taken++
	if q.spent() {
		return errStop
	}
	return nil
}

// portions gathers records for answers.
type portions struct {
	send func(*weirv1.ReadResponse) error

	mu      sync.Mutex // guards what follows, and calls of send
	records []*weirv1.Record
	size    int
}

func (p *portions) add(rec *weirv1.Record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.records = append(p.records, rec)
	p.size += len(rec.Key) + len(rec.Value) + len(rec.GetJson())
	if len(p.records) >= readRecords || p.size >= readBytes {
		return p.flushLocked()
	}
	return nil
}

func (p *portions) flush() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flushLocked()
}

func (p *portions) flushLocked() error {
	if len(p.records) == 0 {
		return nil
	}
	out := &weirv1.ReadResponse{Records: p.records}
	p.records, p.size = nil, 0
	return p.send(out)
}

// linger sends what waits: whoever follows a quiet topic wants each record as it comes.
func (p *portions) linger(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(readLinger)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := p.flush(); err != nil {
				cancel(err)
				return
			}
		}
	}
}

// record copies a record that was found.
func record(f jetstream.Found) *weirv1.Record {
	out := &weirv1.Record{Key: present(f.Key), Partition: uint32(f.Partition), Sequence: f.Sequence, Row: uint32(f.Row)}
	if f.TimeMicros != batch.NoTime {
		out.Time = timestamppb.New(time.UnixMicro(f.TimeMicros))
	}
	if f.Typed {
		out.Json = string(f.Value)
	} else {
		out.Value = present(f.Value)
	}
	for name, value := range f.Headers {
		if out.Headers == nil {
			out.Headers = map[string][]byte{}
		}
		out.Headers[name] = bytes.Clone(value)
	}
	if f.Reason != "" {
		out.Headers = map[string][]byte{headerError: []byte(f.Reason)}
	}
	return out
}

// present copies bytes; those that are there stay so, if only none.
func present(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}
