package jetstream

import (
	"fmt"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/format"
	"github.com/weirstream/weir/platform/format/scalar"
)

// receiver takes what a scatter has sorted.
type receiver interface {
	frame(partition int, a *accumulator) error
	record(partition int, r record) error
}

// scatter sorts rows into the partitions of a topic and gathers them to frames.
type scatter struct {
	cfg        SinkConfig
	key        int // column of the key, or -1
	fixed      int
	encoder    format.Encoder // nil: typed columns, or raw
	partitions []*accumulator
	rows       [][]int32 // per partition, of the batch at hand
	rotation   int       // partition of records without a key
	keyText    []byte
	value      []byte
}

func newScatter(cfg SinkConfig) *scatter {
	s := &scatter{cfg: cfg, key: -1, fixed: fixedBytes(cfg.Schema)}
	if cfg.NewEncoder != nil && !cfg.Raw {
		s.encoder = cfg.NewEncoder()
	}
	if cfg.Key != "" {
		s.key = cfg.Schema.Index(cfg.Key)
	} else if cfg.Raw {
		s.key = rawKey
	}
	stored := cfg.Schema
	if s.encoder != nil {
		stored = schema.Raw()
	}
	s.partitions = make([]*accumulator, cfg.Topic.Partitions)
	s.rows = make([][]int32, cfg.Topic.Partitions)
	for i := range s.partitions {
		s.partitions[i] = newAccumulator(stored)
	}
	return s
}

func (s *scatter) write(b *batch.Batch, to receiver) error {
	if len(b.Columns) != len(s.cfg.Schema.Fields) {
		return fmt.Errorf("write to topic %s: a batch of columns %s, want %s", s.cfg.Topic.Name, b.Schema, s.cfg.Schema)
	}
	if s.encoder == nil && s.cfg.Topic.Layout == Frames {
		return s.columns(b, to)
	}
	for i := range b.Len() {
		row := b.Row(i)
		if b.Kind(row) != batch.Insert {
			return fmt.Errorf("write to topic %s: %w: its format has no place for updates and deletes: choose format columns", s.cfg.Topic.Name, connector.ErrPermanent)
		}
		r, partition := s.makeRecord(b, row)
		if s.cfg.Topic.Layout == Records {
			if err := to.record(partition, r); err != nil {
				return err
			}
			continue
		}
		a := s.partitions[partition]
		a.addRecord(&r)
		if a.full() {
			if err := to.frame(partition, a); err != nil {
				return err
			}
		}
	}
	s.rotate()
	return nil
}

// columns copies typed columns, column by column for each partition.
func (s *scatter) columns(b *batch.Batch, to receiver) error {
	for p := range s.rows {
		s.rows[p] = s.rows[p][:0]
	}
	for i := range b.Len() {
		row := b.Row(i)
		p := s.partitionOf(b, row)
		s.rows[p] = append(s.rows[p], int32(row))
	}
	for p, rows := range s.rows {
		a := s.partitions[p]
		for len(rows) > 0 {
			rows = a.add(b, rows, s.fixed)
			if a.full() {
				if err := to.frame(p, a); err != nil {
					return err
				}
			}
		}
	}
	s.rotate()
	return nil
}

// rotate sends the next records without a key elsewhere.
func (s *scatter) rotate() { s.rotation = (s.rotation + 1) % len(s.partitions) }

func (s *scatter) keyOf(b *batch.Batch, row int) []byte {
	if s.key < 0 {
		return nil
	}
	c := &b.Columns[s.key]
	if c.Null(row) {
		return nil
	}
	if c.Type.Kind.VarLen() {
		if v := c.BytesAt(row); v != nil {
			return v
		}
		return []byte{}
	}
	s.keyText = scalar.AppendText(s.keyText[:0], c, row)
	return s.keyText
}

func (s *scatter) partitionOf(b *batch.Batch, row int) int {
	key := s.keyOf(b, row)
	if key == nil {
		return s.rotation
	}
	return Partition(key, len(s.partitions))
}

// makeRecord gives a row as a record, whose slices hold until the next one.
func (s *scatter) makeRecord(b *batch.Batch, row int) (record, int) {
	r := record{key: s.keyOf(b, row), timeMicros: b.Time(row)}
	partition := s.rotation
	if r.key != nil {
		partition = Partition(r.key, len(s.partitions))
	}
	if s.encoder != nil {
		s.value = s.encoder.Append(s.value[:0], b.Columns, row)
		r.value = s.value
	} else {
		readRawRow(b.Columns, row, &r)
	}
	if r.timeMicros == batch.NoTime {
		r.timeMicros = nowMicros()
	}
	return r, partition
}

// readRawRow fills value, time and headers from the columns of a plain byte stream.
func readRawRow(cols []frame.Column, row int, r *record) {
	if c := &cols[rawValue]; !c.Null(row) {
		r.value = c.BytesAt(row)
		if r.value == nil {
			r.value = []byte{}
		}
	}
	if r.timeMicros == batch.NoTime {
		r.timeMicros = cols[rawTime].IntAt(row)
	}
	r.headers = rawRowHeaders(&cols[rawHeaders], row)
}

func rawRowHeaders(c *frame.Column, row int) map[string][]byte {
	if c.Null(row) {
		return nil
	}
	from, to := c.Span(row)
	if from == to {
		return nil
	}
	entries := &c.Children[0]
	headers := make(map[string][]byte, to-from)
	for i := from; i < to; i++ {
		headers[string(entries.Children[0].BytesAt(i))] = entries.Children[1].BytesAt(i)
	}
	return headers
}

func (s *scatter) flush(to receiver) error {
	for p, a := range s.partitions {
		if err := to.frame(p, a); err != nil {
			return err
		}
	}
	return nil
}
