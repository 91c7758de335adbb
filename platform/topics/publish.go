package topics

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// publisherIdle is how long an unused publisher is kept.
const publisherIdle = time.Minute

// shared is a publisher that calls share. It is closed when nobody has used it for a while, or after an error.
type shared struct {
	key   string
	pub   *jetstream.Publisher
	users int
	dead  bool // not given out any more
	idle  *time.Timer
}

// ErrClosed says that the service has ended.
var ErrClosed = errors.New("topics are closed")

func publisherKey(t *catalog.Topic) string {
	return catalog.Key(t.Namespace, t.Name) + "/" + strconv.FormatUint(t.Incarnation, 10)
}

// acquire gives a topic's publisher; release gives it back.
func (s *Service) acquire(ctx context.Context, t *catalog.Topic) (*shared, error) {
	key := publisherKey(t)
	if p, err := s.take(key); p != nil || err != nil {
		return p, err
	}
	pub, err := jetstream.NewPublisher(ctx, s.options.Conn, Convert(t), jetstream.PublisherOptions{})
	if err != nil {
		return nil, s.explain(err)
	}
	p, err := s.take(key) // another call may have made one meanwhile
	if p != nil || err != nil {
		return p, errors.Join(err, pub.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.publishers[key]; other != nil && !other.dead {
		other.users++
		return other, pub.Close()
	}
	p = &shared{key: key, pub: pub, users: 1}
	s.publishers[key] = p
	return p, nil
}

func (s *Service) take(key string) (*shared, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	p := s.publishers[key]
	if p == nil {
		return nil, nil
	}
	p.users++
	if p.idle != nil {
		p.idle.Stop()
	}
	return p, nil
}

// release gives a publisher back. One that failed is not used again: it sends nothing more.
func (s *Service) release(p *shared, failed error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.users--
	if failed != nil {
		s.drop(p)
	}
	if p.users > 0 {
		return
	}
	if p.dead {
		s.closePublisher(p)
		return
	}
	p.idle = time.AfterFunc(publisherIdle, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if p.users == 0 && !p.dead {
			s.drop(p)
			s.closePublisher(p)
		}
	})
}

// drop keeps a publisher from being given out; the lock is held.
func (s *Service) drop(p *shared) {
	p.dead = true
	if s.publishers[p.key] == p {
		delete(s.publishers, p.key)
	}
}

func (s *Service) closePublisher(p *shared) {
	if err := p.pub.Close(); err != nil {
		s.options.Log.Warn("a publisher did not close", "topic", p.key, "error", err)
	}
}

func (s *Service) forget(t *catalog.Topic) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.publishers[publisherKey(t)]; p != nil {
		s.drop(p)
		if p.users == 0 {
			s.closePublisher(p)
		}
	}
}

// Close ends all publishers; calls that still run end with an error.
func (s *Service) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var errs []error
	for _, p := range s.publishers {
		if p.idle != nil {
			p.idle.Stop()
		}
		p.dead = true
		errs = append(errs, p.pub.Close())
	}
	clear(s.publishers)
	return errors.Join(errs...)
}

// Publish stores records, in order per key, before it answers.
func (s *Service) Publish(ctx context.Context, r *weirv1.PublishRequest) (*weirv1.PublishResponse, error) {
	t, err := s.find("publish to", r.GetNamespace(), r.GetTopic())
	if err != nil {
		return nil, err
	}
	records := make([]jetstream.Record, 0, len(r.GetRecords()))
	total := 0
	for i, rec := range r.GetRecords() {
		out := jetstream.Record{Key: rec.Key, Value: rec.Value, Headers: rec.GetHeaders()}
		if rec.GetTime() != nil {
			if err := rec.GetTime().CheckValid(); err != nil {
				return nil, refuse(catalog.ErrInvalid, "publish to topic %s: record %d: its time: %w", t.Name, i, err)
			}
			out.TimeMicros = rec.GetTime().AsTime().UnixMicro()
		}
		size := len(rec.Key) + len(rec.Value)
		for name, value := range rec.GetHeaders() {
			size += len(name) + len(value)
			if err := checkHeader(t, name, value); err != nil {
				return nil, refuse(catalog.ErrInvalid, "publish to topic %s: record %d: %w", t.Name, i, err)
			}
		}
		if limit := s.options.Conn.MaxPayload() - recordSlack; int64(size) > limit {
			return nil, hint(refuse(catalog.ErrTooLarge, "publish to topic %s: record %d has %d bytes, the limit is %d", t.Name, i, size, limit),
				"make it smaller, or raise max_payload of the NATS server")
		}
		total += size
		records = append(records, out)
	}
	if total > MaxPublishBytes {
		return nil, hint(refuse(catalog.ErrTooLarge, "publish to topic %s: %d bytes in one call, the limit is %d", t.Name, total, MaxPublishBytes), "publish fewer records at once")
	}
	if err := s.PublishRecords(ctx, t, records); err != nil {
		return nil, err
	}
	return &weirv1.PublishResponse{Records: uint64(len(records))}, nil
}

// checkHeader refuses what cannot be a header of a NATS message, which records of that layout are.
func checkHeader(t *catalog.Topic, name string, value []byte) error {
	switch {
	case t.Layout != catalog.LayoutRecords:
		return nil
	case strings.HasPrefix(name, "Nats-") || strings.HasPrefix(name, "Weir-"):
		return fmt.Errorf("header %s: names that begin with Nats- or Weir- are reserved: rename it", name)
	case name == "" || strings.ContainsAny(name, ": \r\n") || bytes.ContainsAny(value, "\r\n"):
		return fmt.Errorf("header %q: a header has no line breaks, and its name no blanks or colons", name)
	}
	return nil
}

// PublishRecords stores records of a topic before it returns.
func (s *Service) PublishRecords(ctx context.Context, t *catalog.Topic, records []jetstream.Record) error {
	return s.publish(ctx, t, func(p *jetstream.Publisher) error {
		return p.PublishAll(ctx, records)
	})
}

func (s *Service) publish(ctx context.Context, t *catalog.Topic, send func(*jetstream.Publisher) error) (err error) {
	p, err := s.acquire(ctx, t)
	if err != nil {
		return fmt.Errorf("publish to topic %s: %w", t.Name, err)
	}
	defer func() { s.release(p, err) }()
	if err := send(p.pub); err != nil {
		return err
	}
	return p.pub.Flush(ctx)
}

// PublishFrames stores ready-made frames after every one of them was read whole:
// a damaged one would only be found by pipelines, where it becomes dead letters.
func (s *Service) PublishFrames(ctx context.Context, r *weirv1.PublishFramesRequest) (*weirv1.PublishFramesResponse, error) {
	t, err := s.find("publish to", r.GetNamespace(), r.GetTopic())
	if err != nil {
		return nil, err
	}
	if t.Layout != catalog.LayoutFrames {
		return nil, hint(refuse(catalog.ErrInvalid, "publish frames to topic %s: its layout is %s, which holds no frames", t.Name, t.Layout), "publish records")
	}
	total := 0
	var buf []byte
	for i, f := range r.GetFrames() {
		total += len(f.GetData())
		if buf, err = checkFrame(t, f, buf); err != nil {
			return nil, refuse(catalog.ErrInvalid, "publish to topic %s: frame %d: %w", t.Name, i, err)
		}
		if limit := s.options.Conn.MaxPayload() - recordSlack; int64(len(f.GetData())) > limit {
			return nil, hint(refuse(catalog.ErrTooLarge, "publish to topic %s: frame %d has %d bytes, the limit is %d", t.Name, i, len(f.GetData()), limit), "put fewer rows into a frame")
		}
	}
	if total > MaxPublishBytes {
		return nil, hint(refuse(catalog.ErrTooLarge, "publish to topic %s: %d bytes in one call, the limit is %d", t.Name, total, MaxPublishBytes), "publish fewer frames at once")
	}
	out := &weirv1.PublishFramesResponse{}
	err = s.publish(ctx, t, func(p *jetstream.Publisher) error {
		for _, f := range r.GetFrames() {
			rows, err := p.PublishFrame(ctx, int(f.GetPartition()), f.GetData())
			if err != nil {
				return err
			}
			out.Records += uint64(rows)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// rawKey is the column of keys in frames of plain records.
const rawKey = 0

// checkFrame reads a frame whole. Rows of plain records must belong to the
// partition that is named: a key in two places would lose its order.
func checkFrame(t *catalog.Topic, f *weirv1.Frame, buf []byte) ([]byte, error) {
	if int(f.GetPartition()) >= t.Partitions {
		return buf, fmt.Errorf("partition %d: the topic has 0 to %d", f.GetPartition(), t.Partitions-1)
	}
	stored, buf, err := frame.DecodeStored(f.GetData(), buf)
	if err == nil {
		err = frame.ValidateUTF8(stored.Columns)
	}
	if err != nil || !stored.Schema.Equal(schema.Raw()) {
		return buf, err
	}
	keys := &stored.Columns[rawKey]
	for row := range stored.Rows {
		if keys.Null(row) {
			continue
		}
		if want := jetstream.Partition(keys.BytesAt(row), t.Partitions); want != int(f.GetPartition()) {
			return buf, fmt.Errorf("row %d: its key belongs to partition %d, not to %d; compute it as FNV-1a, 32 bits, modulo %d", row, want, f.GetPartition(), t.Partitions)
		}
	}
	return buf, nil
}
