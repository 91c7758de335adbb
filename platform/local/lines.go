package local

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/weirstream/weir/platform/batch"
	connectors "github.com/weirstream/weir/platform/connector/all"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/format"
	formats "github.com/weirstream/weir/platform/format/all"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/operator/deadletter"
	"github.com/weirstream/weir/platform/operator/sink"
	"github.com/weirstream/weir/platform/operator/source"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// Limits of lines.
const (
	maxLineBytes  = 16 << 20
	rowsPerBatch  = 1024
	defaultFormat = "json"
)

// options are what lines need of a connector's options.
type options struct {
	format.Options
	Format string `json:"format"`
	Lines  string `json:"header"` // yes or no, of a file; it stands before format's field of that name
}

// headed says whether a connector's lines begin with the names of their fields.
func (o *options) headed(connector string) bool {
	return connector == connectors.File && o.Format == "csv" && o.Lines != "no"
}

func readOptions(raw json.RawMessage) (options, error) {
	o := options{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &o); err != nil {
			return o, fmt.Errorf("read options: %w", err)
		}
	}
	if o.Format == "" || o.Format == "columns" {
		o.Format = defaultFormat // a file of lines holds no columns
	}
	return o, nil
}

// decoder turns lines of one source into rows.
type decoder struct {
	config  source.Config
	decoder format.Decoder
	builder *batch.Builder
	column  int // of event times; -1: none
	dead    *deadletter.Writer
	source  string
	latest  int64
	line    uint64
	options options
	headed  bool // the first line, which is to come, names the fields
}

func newDecoder(ctx *operator.Context) (*decoder, error) {
	d := &decoder{column: -1, latest: batch.NoTime, source: ctx.Operator}
	if err := json.Unmarshal(ctx.Config, &d.config); err != nil {
		return nil, err
	}
	o, err := readOptions(d.config.Options)
	if err != nil {
		return nil, err
	}
	rows := ctx.Outputs[source.Rows]
	if d.decoder, err = formats.NewDecoder(o.Format, rows, o.Options); err != nil {
		return nil, err
	}
	d.options, d.headed = o, o.headed(d.config.Connector)
	d.builder = batch.NewBuilder(rows)
	if d.config.EventTime != "" {
		d.column = rows.Index(d.config.EventTime)
	}
	if d.config.DeadLetters {
		d.dead = deadletter.NewWriter(ctx.Identity, source.DeadLetters, ctx.Output)
	}
	return d, nil
}

// add decodes a line; one that cannot be decoded goes where the pipeline says.
func (d *decoder) add(line []byte) error {
	d.line++
	if d.headed {
		d.headed = false
		return d.header(line)
	}
	rec := format.Record{Value: line, TimeMicros: format.NoTime}
	if err := d.decoder.Decode(d.builder, &rec); err != nil {
		if d.dead == nil {
			return fmt.Errorf("line %d of source %s: %w", d.line, d.source, err)
		}
		return d.dead.Raw(err.Error(), deadletter.Record{Topic: d.source, Sequence: d.line, Value: line, TimeMicros: batch.NoTime})
	}
	d.builder.EndRead(batch.NoTime, d.line, 0)
	return nil
}

// header reads the first line of a file, which names the fields.
func (d *decoder) header(line []byte) (err error) {
	r := csv.NewReader(bytes.NewReader(line))
	if d.options.Delimiter != "" {
		r.Comma, _ = utf8.DecodeRuneInString(d.options.Delimiter)
	}
	if d.options.Header, err = r.Read(); err == nil {
		d.decoder, err = formats.NewDecoder(d.options.Format, d.builder.Schema(), d.options.Options)
	}
	if err != nil {
		return fmt.Errorf("header of source %s: %w; leave it out by options: {header: no}", d.source, err)
	}
	return nil
}

// finish gives the rows as a batch with event times; nil if there are none.
func (d *decoder) finish() *batch.Batch {
	if d.builder.Len() == 0 {
		return nil
	}
	b := d.builder.Finish(d.source, 0)
	if d.column >= 0 {
		copy(b.Times, b.Columns[d.column].Int64s())
		for _, t := range b.Times {
			d.latest = max(d.latest, t)
		}
	} else {
		b.Times = nil
	}
	return b
}

// watermark is what the rows so far promise.
func (d *decoder) watermark() element.Watermark {
	if d.latest == batch.NoTime {
		return element.Watermark{Time: element.MinTime}
	}
	return element.Watermark{Time: d.latest - d.config.LatenessMs*1000 - 1}
}

// lineSource is the operator that reads a source's lines in a bounded run.
type lineSource struct {
	open    func(source string) (io.ReadCloser, error)
	read    *atomic.Uint64
	ctx     *operator.Context
	decoder *decoder
	closer  io.Closer
	lines   *bufio.Reader
	long    []byte
	done    bool
}

func (s *lineSource) Open(ctx *operator.Context) (err error) {
	s.ctx = ctx
	if s.decoder, err = newDecoder(ctx); err != nil {
		return err
	}
	if ctx.Task > 0 { // a file is one split
		s.done = true
		return nil
	}
	r, err := s.open(ctx.Operator)
	if err != nil {
		return err
	}
	s.closer, s.lines = r, bufio.NewReaderSize(r, 256<<10)
	return nil
}

// Poll reads a batch of lines.
func (s *lineSource) Poll() (bool, error) {
	if s.done {
		return false, nil
	}
	for s.decoder.builder.Len() < rowsPerBatch && !s.done {
		line, err := s.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return false, fmt.Errorf("read source %s: %w", s.ctx.Operator, err)
		}
		s.done = err != nil
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			s.read.Add(1)
			if err := s.decoder.add(line); err != nil {
				return false, err
			}
		}
	}
	if b := s.decoder.finish(); b != nil {
		if err := s.ctx.Output.Emit(source.Rows, b); err != nil {
			return false, err
		}
		return true, s.ctx.Output.Watermark(s.decoder.watermark())
	}
	return false, nil
}

func (s *lineSource) next() ([]byte, error) {
	s.long = s.long[:0]
	for {
		piece, err := s.lines.ReadSlice('\n')
		if !errors.Is(err, bufio.ErrBufferFull) {
			if len(s.long) == 0 {
				return piece, err
			}
			return append(s.long, piece...), err
		}
		if s.long = append(s.long, piece...); len(s.long) > maxLineBytes {
			return nil, fmt.Errorf("line %d has more than %d bytes, the limit", s.decoder.line+1, maxLineBytes)
		}
	}
}

func (s *lineSource) Done() bool                             { return s.done }
func (s *lineSource) Process(int, *batch.Batch) error        { return nil }
func (s *lineSource) Watermark(int, element.Watermark) error { return nil }
func (s *lineSource) Timers(int64) error                     { return nil }
func (s *lineSource) EndOfInput(int) error                   { return nil }
func (s *lineSource) Barrier(element.Barrier) (operator.Snapshot, error) {
	return operator.Snapshot{}, nil
}

func (s *lineSource) Close() error {
	if s.closer == nil {
		return nil
	}
	return s.closer.Close()
}

// lineSink is the operator that writes a sink's rows as lines.
type lineSink struct {
	write   func(operator string, line []byte) error
	mu      *sync.Mutex // one writer at a time over all tasks
	written *atomic.Uint64
	begun   map[string]bool // sinks whose header is written, guarded by mu; nil: no headers
	ctx     *operator.Context
	encoder format.Encoder
	line    []byte
}

func (s *lineSink) Open(ctx *operator.Context) error {
	s.ctx = ctx
	var c sink.Config
	if err := json.Unmarshal(ctx.Config, &c); err != nil {
		return err
	}
	o, err := readOptions(c.Options)
	if err != nil {
		return err
	}
	if s.encoder, err = formats.NewEncoder(o.Format, ctx.Inputs[0], o.Options); err != nil {
		return err
	}
	names, ok := s.encoder.(interface{ AppendHeader([]byte) []byte })
	if s.begun == nil || !ok || !o.headed(c.Connector) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun[ctx.Operator] {
		return nil // another task was first
	}
	s.begun[ctx.Operator] = true
	return s.write(ctx.Operator, names.AppendHeader(nil))
}

func (s *lineSink) Process(_ int, b *batch.Batch) error {
	defer b.Release()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range b.Len() {
		s.line = s.encoder.Append(s.line[:0], b.Columns, b.Row(i))
		if err := s.write(s.ctx.Operator, s.line); err != nil {
			return err
		}
	}
	s.written.Add(uint64(b.Len()))
	return nil
}

func (s *lineSink) Watermark(int, element.Watermark) error { return nil }
func (s *lineSink) Timers(int64) error                     { return nil }
func (s *lineSink) EndOfInput(int) error                   { return nil }
func (s *lineSink) Close() error                           { return nil }
func (s *lineSink) Barrier(element.Barrier) (operator.Snapshot, error) {
	return operator.Snapshot{}, nil
}

// sinkOf finds a sink's operator in a graph and what it reads from.
func sinkOf(g *jobgraph.Graph, id string) (from string, output int) {
	for s := range g.Stages {
		for i := range g.Stages[s].Operators {
			op := &g.Stages[s].Operators[i]
			if op.ID != id || len(op.Upstream) == 0 {
				continue
			}
			up := op.Upstream[0]
			if up.Operator >= 0 {
				return g.Stages[s].Operators[up.Operator].ID, up.Output
			}
			for _, e := range g.Edges {
				if e.To == g.Stages[s].ID && e.Input == up.Output {
					return g.Stages[e.From].Operators[e.Operator].ID, e.Output
				}
			}
		}
	}
	return "", 0
}
