package pipelines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weirstream/weir/abi/frame"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/operator/deadletter"
	"github.com/weirstream/weir/platform/planner"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// Limits of dead letters.
const (
	DefaultLetters = 100
	MaxLetters     = 1000  // in one list
	MaxReplayIDs   = 10000 // named in one call
	replayBatch    = 500   // published at a time
	replayBytes    = 4 << 20
	maxListBytes   = 8 << 20 // of keys and values in one list
	// letterRows parts an id: it is the sequence of the letter's frame times
	// this, plus its row, so that ids are unique, rise, and can be read.
	letterRows = 100000
)

// letter is a dead letter as it is stored.
type letter struct {
	id        uint64
	row       int
	time      int64
	eventTime int64 // batch.NoTime: none
	operator  string
	reason    string
	topic     string // empty: unknown
	partition int32
	sequence  int64
	sourceRow int32
	key       []byte // nil: none
	value     []byte
	decoded   bool
}

// column finds a column of dead letters by its name.
func column(columns []frame.Column, name string) *frame.Column {
	return &columns[deadletter.Schema.Index(name)]
}

// letters reads the letters of a pipeline out of a message; others of the topic are left out.
func letters(m topics.Message, pipeline string, give func(*letter) error) error {
	if !frame.IsStored(m.Data) {
		return nil // somebody's own record in a topic that is shared
	}
	stored, _, err := frame.DecodeStored(m.Data, nil)
	if err == nil {
		err = frame.ValidateUTF8(stored.Columns)
	}
	if err != nil {
		return fmt.Errorf("dead letters at sequence %d: %w", m.Sequence, err)
	}
	if !stored.Schema.Equal(deadletter.Schema) {
		return nil
	}
	c := stored.Columns
	for row := range stored.Rows {
		if column(c, "pipeline").StringAt(row) != pipeline {
			continue
		}
		l := &letter{
			id: m.Sequence*letterRows + uint64(row), row: row, time: column(c, "time").Int64s()[row], eventTime: batch.NoTime,
			operator: column(c, "operator").StringAt(row), reason: column(c, "reason").StringAt(row), decoded: column(c, "decoded").Bool(row),
		}
		if row < len(stored.Times) {
			l.eventTime = stored.Times[row]
		}
		if t := column(c, "topic"); !t.Null(row) {
			l.topic = t.StringAt(row)
			l.partition, l.sequence, l.sourceRow = column(c, "partition").Int32s()[row], column(c, "sequence").Int64s()[row], column(c, "row").Int32s()[row]
		}
		if k := column(c, "key"); !k.Null(row) {
			l.key = append([]byte{}, k.BytesAt(row)...)
		}
		if v := column(c, "value"); !v.Null(row) {
			l.value = append([]byte{}, v.BytesAt(row)...)
		}
		if err := give(l); err != nil {
			return err
		}
	}
	return nil
}

func (l *letter) message() *weirv1.DeadLetter {
	return &weirv1.DeadLetter{
		Id: l.id, Row: uint32(l.row), Time: timestamppb.New(time.UnixMicro(l.time)), Operator: l.operator, Reason: l.reason, Topic: l.topic,
		Partition: uint32(l.partition), Sequence: uint64(l.sequence), SourceRow: uint32(l.sourceRow), Key: l.key, Value: l.value,
	}
}

// letterTopic is the topic of a pipeline's dead letters; none if it was never made.
func (s *Service) letterTopic(ctx context.Context, p *catalog.Pipeline) (*catalog.Topic, error) {
	text, err := s.object(ctx, SpecName(p.Current.Spec), p.Current.Spec)
	if err != nil {
		return nil, fmt.Errorf("read its file: %w", err)
	}
	name := planner.DeadLetterTopic(p.Name)
	if f, _ := pipelinefile.Parse(text); f != nil && f.DeadLetters.Value != "" {
		name = f.DeadLetters.Value
	}
	t, ok := s.view().Topic(p.Namespace, name)
	if !ok {
		return nil, nil
	}
	return t, nil
}

// scan gives a pipeline's letters from a sequence on, up to the last one.
func (s *Service) scan(ctx context.Context, p *catalog.Pipeline, from uint64, give func(*letter) error) error {
	t, err := s.letterTopic(ctx, p)
	if err != nil || t == nil {
		return err
	}
	return s.options.Topics.Scan(ctx, topics.Convert(t), topics.Range{From: from, UntilEnd: true}, func(m topics.Message) error {
		return letters(m, catalog.Key(p.Namespace, p.Name), give)
	})
}

// DeadLetters lists a pipeline's dead letters, oldest first, and counts them all.
func (s *Service) DeadLetters(ctx context.Context, r *weirv1.ListDeadLettersRequest) (*weirv1.ListDeadLettersResponse, error) {
	p, err := s.find("list dead letters of", r.GetNamespace(), r.GetName())
	if err != nil {
		return nil, err
	}
	limit := int(r.GetLimit())
	if limit == 0 {
		limit = DefaultLetters
	}
	if limit > MaxLetters {
		return nil, refuse(catalog.ErrInvalid, "list dead letters of pipeline %s: %d at once, the limit is %d; go on after the last id of each list", p.Name, limit, MaxLetters)
	}
	out, size := &weirv1.ListDeadLettersResponse{}, 0
	err = s.scan(ctx, p, 0, func(l *letter) error {
		out.Total++
		if l.id <= r.GetAfter() || len(out.Letters) >= limit || size >= maxListBytes {
			return nil
		}
		size += len(l.key) + len(l.value) + len(l.reason)
		out.Letters = append(out.Letters, l.message())
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list dead letters of pipeline %s: %w", p.Name, err)
	}
	return out, nil
}

// Replay publishes dead letters to the topics they came from: those that could
// not be decoded as they were, refused rows as JSON.
func (s *Service) Replay(ctx context.Context, r *weirv1.ReplayDeadLettersRequest) (*weirv1.ReplayDeadLettersResponse, error) {
	p, err := s.find("replay dead letters of", r.GetNamespace(), r.GetName())
	if err != nil {
		return nil, err
	}
	what := "replay dead letters of pipeline " + p.Name
	ids := slices.Clone(r.GetIds())
	if len(ids) > MaxReplayIDs {
		return nil, refuse(catalog.ErrInvalid, "%s: %d ids, the limit is %d; name none to replay all", what, len(ids), MaxReplayIDs)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	b := &replay{service: s, namespace: p.Namespace, pending: map[string][]jetstream.Record{}}
	if len(ids) > 0 {
		// Every id is looked for first, so that a wrong one publishes nothing.
		if err := s.missing(ctx, p, ids, what); err != nil {
			return nil, err
		}
	}
	last := uint64(0)
	err = s.scan(ctx, p, max(firstSequence(ids), r.GetAfter()/letterRows), func(l *letter) error {
		if l.id <= r.GetAfter() {
			return nil
		}
		if len(ids) > 0 {
			if _, wanted := slices.BinarySearch(ids, l.id); !wanted {
				return nil
			}
		}
		last = max(last, l.id)
		return b.add(ctx, l)
	})
	if err == nil {
		err = b.flush(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: after %d records: %w", what, b.records, err)
	}
	return &weirv1.ReplayDeadLettersResponse{Records: b.records, Last: last}, nil
}

func firstSequence(ids []uint64) uint64 {
	if len(ids) == 0 {
		return 0
	}
	return ids[0] / letterRows
}

func (s *Service) missing(ctx context.Context, p *catalog.Pipeline, ids []uint64, what string) error {
	found := map[uint64]bool{}
	err := s.scan(ctx, p, firstSequence(ids), func(l *letter) error {
		if _, wanted := slices.BinarySearch(ids, l.id); wanted {
			found[l.id] = true
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	var missing []string
	for _, id := range ids {
		if !found[id] {
			missing = append(missing, fmt.Sprint(id))
		}
	}
	if len(missing) > 0 {
		const most = 10
		return hint(refuse(catalog.ErrNotFound, "%s: there is no letter %s", what, trimmed(missing, most)), "weir deadletter list %s shows the ids", p.Name)
	}
	return nil
}

// errNoOrigin says that a letter's record came from no topic.
var errNoOrigin = errors.New("its record came from no topic")

// replay gathers records by the topic they go to.
type replay struct {
	service   *Service
	namespace string
	pending   map[string][]jetstream.Record
	count     int
	size      int
	records   uint64 // that were stored
}

func (b *replay) add(ctx context.Context, l *letter) error {
	if l.topic == "" {
		return hint(refuse(catalog.ErrInvalid, "letter %d: %w", l.id, errNoOrigin), "publish it yourself: weir deadletter show ... -o value")
	}
	rec := jetstream.Record{Key: l.key, Value: bytes.Clone(l.value)}
	if l.eventTime != batch.NoTime {
		rec.TimeMicros = l.eventTime
	}
	b.pending[l.topic] = append(b.pending[l.topic], rec)
	b.count++
	b.size += len(l.key) + len(l.value)
	if b.count >= replayBatch || b.size >= replayBytes {
		return b.flush(ctx)
	}
	return nil
}

func (b *replay) flush(ctx context.Context) error {
	for name, records := range b.pending {
		t, ok := b.service.view().Topic(b.namespace, name)
		if !ok {
			return refuse(catalog.ErrNotFound, "topic %s, where they came from, is gone; make it again", name)
		}
		if err := b.service.options.Topics.PublishRecords(ctx, t, records); err != nil {
			return err
		}
		b.records += uint64(len(records))
	}
	clear(b.pending)
	b.count, b.size = 0, 0
	return nil
}
