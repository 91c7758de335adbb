package weirtest

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	weir "github.com/weirstream/weir/sdk/go"
	"github.com/weirstream/weir/sdk/go/internal/guest"
)

// noTime is the contract's "none"; endOfTime is where event time goes when bounded input ends.
const (
	noTime    = math.MinInt64
	endOfTime = math.MaxInt64
)

// SeedVariable names the environment variable that sets the seed of every harness, to run a failed test again.
const SeedVariable = "WEIRTEST_SEED"

// Harness runs one function. It is driven by one goroutine.
type Harness struct {
	t        testing.TB
	rng      *rand.Rand
	seed     uint64
	fn       function
	config   string
	assets   []section
	settled  bool // only whole batches, one instance, no repetition
	lateness time.Duration
	eventCol map[string]string

	calls    int
	instance *guest.Instance
	handle   int

	clock     int64
	watermark int64
	newest    int64
	pending   []queued
	keys      map[string]*keyState
	outputs   [][]Row
	failures  []Failure
	asked     bool
	logs      []string
	metrics   map[string]float64
	overlay   *overlay
}

// Row is a row that a function put out.
type Row struct {
	Values []any
	Time   time.Time // the zero time: none
	Kind   weir.RowKind

	sender string // of a stateful function: the id whose message it came of
}

// Failure is a row or firing that failed, by an error or a panic.
type Failure struct {
	Input string // empty: a firing
	Row   []any  // the row's values; of a firing, the key's
	Text  string
	Trap  bool // it panicked
}

type queued struct {
	input  int
	values []any
	time   int64
	kind   weir.RowKind
}

// function is the part of the manifest that belongs to one function.
type function struct {
	Name    string
	Type    string
	Inputs  []inputSpec
	Outputs []struct {
		Name    string
		Columns string
		cols    []column
	}
	State []struct {
		Name     string
		Kind     string
		Form     string
		TTLMs    int64  `json:"ttl_ms"`
		TTLOn    string `json:"ttl_on"`
		MaxBytes int    `json:"max_bytes"`
	}
	Timers []struct {
		Name string
		Kind string
	}
	Requires []string
	key      []column
}

type inputSpec struct {
	Name    string
	Columns string
	Key     []string
	cols    []column
}

// Option changes a harness.
type Option func(*Harness)

// Seed fixes the seed, which is else drawn and printed when the test fails.
func Seed(seed uint64) Option { return func(h *Harness) { h.seed = seed } }

// Config opens the function with a configuration, in JSON.
func Config(text string) Option { return func(h *Harness) { h.config = text } }

// Asset opens the function with an asset, as weir module push --asset NAME=FILE does.
func Asset(name string, data []byte) Option {
	return func(h *Harness) {
		body := le.AppendUint32(nil, uint32(len(name)))
		body = append(body, name...)
		for len(body)%8 != 0 {
			body = append(body, 0)
		}
		h.assets = append(h.assets, section{id: 5, index: uint32(len(h.assets)), body: append(body, data...)})
	}
}

// At starts the clock at a time; 1 January 2026 without it.
func At(clock time.Time) Option { return func(h *Harness) { h.clock = clock.UnixMicro() } }

// EventTime names the timestamp column of an input that holds the event time of its rows.
func EventTime(input, column string) Option {
	return func(h *Harness) { h.eventCol[input] = column }
}

// Watermarks lets the watermark follow the newest event time at a distance, advancing at random moments, as a source does it.
func Watermarks(lateness time.Duration) Option {
	return func(h *Harness) { h.lateness = lateness }
}

// Settled switches the chance off: calls hold as many rows as were sent, one instance serves all, no call is repeated. Benchmarks want that.
func Settled() Option { return func(h *Harness) { h.settled = true } }

// New opens a function of the test's package by its name.
func New(t testing.TB, name string, opts ...Option) *Harness {
	t.Helper()
	h := &Harness{
		t: t, seed: rand.Uint64() >> 1, config: "{}", lateness: -1, eventCol: map[string]string{}, clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro(),
		watermark: noTime, newest: noTime, keys: map[string]*keyState{}, metrics: map[string]float64{},
	}
	if text := os.Getenv(SeedVariable); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s=%q: want a number", SeedVariable, text)
		}
		h.seed = seed
	}
	for _, o := range opts {
		o(h)
	}
	h.rng = rand.New(rand.NewPCG(h.seed, 0))
	t.Cleanup(func() {
		if len(h.failures) > 0 && !h.asked {
			f := h.failures[0]
			t.Errorf("%d rows or firings of function %s failed; the first: %s: %v (a test that expects failures calls Failures)", len(h.failures), name, f.Text, f.Row)
		}
		if t.Failed() {
			t.Logf("weirtest: run again with %s=%d", SeedVariable, h.seed)
		}
	})
	if err := h.describe(name); err != nil {
		t.Fatal(err)
	}
	h.open()
	return h
}

func (h *Harness) describe(name string) error {
	text := guest.Default.Describe(encodeContainer(5))
	var manifest struct {
		Error     string
		Functions []function
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		return fmt.Errorf("read the manifest: %w", err)
	}
	if manifest.Error != "" {
		return fmt.Errorf("describe the module: %s", manifest.Error)
	}
	var names []string
	for _, f := range manifest.Functions {
		names = append(names, f.Name)
		if f.Name == name {
			h.fn = f
		}
	}
	if h.fn.Name == "" {
		return fmt.Errorf("the module has no function %s, only %s", name, strings.Join(names, ", "))
	}
	return h.fn.parse(h)
}

func (f *function) parse(h *Harness) error {
	var err error
	for i := range f.Inputs {
		in := &f.Inputs[i]
		if in.cols, err = parseSchema(in.Columns); err != nil {
			return err
		}
		if i == 0 {
			for _, k := range in.Key {
				f.key = append(f.key, in.cols[indexOf(in.cols, k)])
			}
		}
		if col, ok := h.eventCol[in.Name]; ok && indexOf(in.cols, col) < 0 {
			return fmt.Errorf("input %s has no column %s for its event time", in.Name, col)
		}
	}
	for i := range f.Outputs {
		if f.Outputs[i].cols, err = parseSchema(f.Outputs[i].Columns); err != nil {
			return err
		}
	}
	h.outputs = make([][]Row, len(f.Outputs))
	return nil
}

func indexOf(cols []column, name string) int {
	for i, c := range cols {
		if c.name == name {
			return i
		}
	}
	return -1
}

// open makes a fresh instance.
func (h *Harness) open() {
	h.t.Helper()
	frame := encodeContainer(3, append([]section{
		{id: 1, must: true, body: []byte(h.fn.Name)}, {id: 2, must: true, body: []byte(h.config)},
		{id: 3, must: true, body: []byte(strings.Join(h.fn.Requires, "\n"))}, {id: 4, body: []byte("{}")},
	}, h.assets...)...)
	var answer []byte
	h.instance = &guest.Instance{Module: &guest.Default}
	guest.Enter(imports{h}, func() { answer = h.instance.Open(frame) })
	sections, err := decodeContainer(4, answer)
	if err != nil {
		h.t.Fatalf("open function %s: %v", h.fn.Name, err)
	}
	if text := find(sections, 2, 0); text != nil {
		h.t.Fatalf("%s", text)
	}
	h.handle = int(le.Uint32(find(sections, 1, 0)))
}

// Send queues rows, which are structs with the input's columns, for an input. They reach the function at the next Advance, AdvanceClock, Finish or look at a result, cut into calls at random.
func (h *Harness) Send(input string, rows ...any) {
	h.t.Helper()
	for _, row := range rows {
		i := h.input(input)
		values, err := toValues(h.fn.Inputs[i].cols, row)
		if err != nil {
			h.t.Fatalf("send to %s: %v", input, err)
		}
		h.queue(i, values, h.eventTime(i, values))
	}
}

// SendAt queues rows with an event time.
func (h *Harness) SendAt(input string, at time.Time, rows ...any) {
	h.t.Helper()
	for _, row := range rows {
		i := h.input(input)
		values, err := toValues(h.fn.Inputs[i].cols, row)
		if err != nil {
			h.t.Fatalf("send to %s: %v", input, err)
		}
		h.queue(i, values, at.UnixMicro())
	}
}

// SendKind queues rows of a changelog, for a function that is declared with weir.Changelog.
func (h *Harness) SendKind(input string, kind weir.RowKind, rows ...any) {
	h.t.Helper()
	if !h.changelog() && kind != weir.Insert {
		h.t.Fatalf("send %s to %s: function %s is declared without weir.Changelog, so a host gives it plain rows only", kind, input, h.fn.Name)
	}
	for _, row := range rows {
		h.Send(input, row)
		h.pending[len(h.pending)-1].kind = kind
	}
}

func (h *Harness) changelog() bool { return slices.Contains(h.fn.Requires, "changelog") }

func (h *Harness) queue(input int, values []any, at int64) {
	h.pending = append(h.pending, queued{input: input, values: values, time: at})
}

func (h *Harness) input(name string) int {
	h.t.Helper()
	for i, in := range h.fn.Inputs {
		if in.Name == name {
			return i
		}
	}
	h.t.Fatalf("function %s has no input %s", h.fn.Name, name)
	return -1
}

func (h *Harness) eventTime(input int, values []any) int64 {
	col, ok := h.eventCol[h.fn.Inputs[input].Name]
	if !ok {
		return noTime
	}
	at, ok := values[indexOf(h.fn.Inputs[input].cols, col)].(int64)
	if !ok {
		return noTime
	}
	return at
}

// Advance moves the watermark and fires the event timers that are due.
func (h *Harness) Advance(watermark time.Time) {
	h.t.Helper()
	h.flush()
	h.advance(watermark.UnixMicro())
}

func (h *Harness) advance(watermark int64) {
	h.t.Helper()
	if watermark < h.watermark {
		h.t.Fatalf("the watermark would go back from %d to %d", h.watermark, watermark)
	}
	h.watermark = watermark
	h.fire()
}

// AdvanceClock moves the processing time and fires the processing timers that are due.
func (h *Harness) AdvanceClock(clock time.Time) {
	h.t.Helper()
	h.flush()
	if clock.UnixMicro() < h.clock {
		h.t.Fatalf("the clock would go back to %v", clock)
	}
	h.clock = clock.UnixMicro()
	h.fire()
}

// Finish ends the input: event time goes to its end and all event timers fire.
func (h *Harness) Finish() {
	h.t.Helper()
	h.flush()
	h.advance(endOfTime)
}

// Output returns the rows an output has had so far.
func (h *Harness) Output(name string) []Row {
	h.t.Helper()
	h.flush()
	for i, o := range h.fn.Outputs {
		if o.Name == name {
			return h.outputs[i]
		}
	}
	h.t.Fatalf("function %s has no output %s", h.fn.Name, name)
	return nil
}

// Rows returns the rows an output has had so far, as structs.
func Rows[T any](h *Harness, output string) []T {
	h.t.Helper()
	var rows []T
	for _, r := range h.Output(output) {
		var row T
		for _, o := range h.fn.Outputs {
			if o.Name == output {
				if err := fromValues(o.cols, r.Values, reflect.ValueOf(&row).Elem()); err != nil {
					h.t.Fatalf("output %s: %v", output, err)
				}
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// Failures returns what failed so far. A test that never asks for it fails if anything did.
func (h *Harness) Failures() []Failure {
	h.t.Helper()
	h.flush()
	h.asked = true
	return h.failures
}

// Logs returns the lines the function logged, each with its level before it. A call that is repeated logs once.
func (h *Harness) Logs() []string {
	h.flush()
	return h.logs
}

// Metric returns a metric's value.
func (h *Harness) Metric(name string) float64 {
	h.flush()
	return h.metrics[name]
}
