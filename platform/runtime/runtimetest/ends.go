package runtimetest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/storage/snapshot"
)

// source reads the splits whose number falls to its task.
type source struct {
	world  *World
	ctx    *operator.Context
	splits []int
	next   []int64 // per split: the row to read
	turn   int
	mark   int64
	rows   *batch.Builder
}

func (s *source) Open(ctx *operator.Context) error {
	s.ctx, s.mark, s.rows = ctx, element.MinTime, batch.NewBuilder(s.world.schema)
	at := map[string]int64{}
	for _, it := range ctx.Restored {
		if it.Kind == snapshot.KindSplit {
			at[it.Key] = int64(binary.LittleEndian.Uint64(it.Data[0]))
		}
	}
	for split := ctx.Task; split < s.world.Splits; split += ctx.Parallelism {
		s.splits = append(s.splits, split)
		s.next = append(s.next, at[strconv.Itoa(split)])
	}
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	s.world.wakes[fmt.Sprint(ctx.Operator, "/", ctx.Task)] = ctx.Wake
	return nil
}

func (s *source) Poll() (bool, error) {
	allowed := s.world.Allowed()
	for range s.splits {
		i := s.turn
		s.turn = (s.turn + 1) % len(s.splits)
		if s.next[i] < allowed {
			return true, s.emit(i, min(s.next[i]+int64(s.world.BatchRows), allowed))
		}
	}
	return false, nil
}

func (s *source) emit(i int, upTo int64) error {
	for seq := s.next[i]; seq < upTo; seq++ {
		s.rows.Column(0).AppendInt64(KeyOf(s.splits[i], seq))
		s.rows.Column(1).AppendInt64(seq)
		s.rows.Column(2).AppendInt64(0)
		s.rows.EndRow(seq)
	}
	s.next[i] = upTo
	if err := s.world.before(s.ctx.Identity, s.rows.Len()); err != nil {
		return err
	}
	if err := s.ctx.Output.Emit(0, s.rows.Finish("", 0)); err != nil {
		return err
	}
	if mark := slices.Min(s.next) - 1; mark > s.mark {
		s.mark = mark
		return s.ctx.Output.Watermark(element.Watermark{Time: mark})
	}
	return nil
}

func (s *source) Done() bool {
	for _, n := range s.next {
		if n < s.world.Rows {
			return false
		}
	}
	return true
}

func (s *source) Barrier(element.Barrier) (operator.Snapshot, error) {
	var out operator.Snapshot
	for i, split := range s.splits {
		at := binary.LittleEndian.AppendUint64(nil, uint64(s.next[i]))
		out.Items = append(out.Items, snapshot.Item{Kind: snapshot.KindSplit, Key: strconv.Itoa(split), Data: [][]byte{at}})
	}
	return out, nil
}

func (s *source) Process(int, *batch.Batch) error        { panic("a source has no input") }
func (s *source) Watermark(int, element.Watermark) error { return nil }
func (s *source) Timers(int64) error                     { return nil }
func (s *source) EndOfInput(int) error                   { return nil }
func (s *source) Close() error                           { return nil }

// sink shows the rows of an epoch once its checkpoint is committed. As a real
// one does, it holds an epoch's snapshot back until the one before is shown.
type sink struct {
	base
	world *World
	epoch []Row

	mu      sync.Mutex // guards what follows
	pending []prepared
}

type prepared struct {
	checkpoint uint64
	rows       []Row
	shown      chan struct{} // closed when the rows are visible
}

func (s *sink) Open(ctx *operator.Context) error {
	s.open(ctx)
	if ctx.RestoredFrom == 0 {
		return nil
	}
	for _, it := range ctx.Restored {
		if it.Kind != snapshot.KindTransaction {
			continue
		}
		var writer int
		if _, err := fmt.Sscan(it.Key, &writer); err != nil {
			return err
		}
		s.world.show(ctx.Operator, writer, ctx.RestoredFrom, decodeRows(it.Data))
	}
	ctx.Published(ctx.RestoredFrom)
	return nil
}

func (s *sink) Process(input int, b *batch.Batch) error {
	defer b.Release()
	if err := s.arrived(s.world, input, b); err != nil {
		return err
	}
	keys, seqs, ns := b.Columns[0].Int64s(), b.Columns[1].Int64s(), b.Columns[2].Int64s()
	for i := range b.Len() {
		row := b.Row(i)
		s.epoch = append(s.epoch, Row{keys[row], seqs[row], ns[row]})
	}
	return nil
}

func (s *sink) Barrier(b element.Barrier) (operator.Snapshot, error) {
	var out operator.Snapshot
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.pending); n > 0 {
		out.Ready = s.pending[n-1].shown
	}
	s.pending = append(s.pending, prepared{checkpoint: b.ID, rows: s.epoch, shown: make(chan struct{})})
	if len(s.epoch) > 0 {
		out.Items = []snapshot.Item{{Kind: snapshot.KindTransaction, Key: strconv.Itoa(s.ctx.Task), Data: encodeRows(s.epoch)}}
	}
	s.epoch = nil
	return out, nil
}

func (s *sink) Committed(checkpoint uint64) {
	s.mu.Lock()
	var shown []prepared
	for len(s.pending) > 0 && s.pending[0].checkpoint <= checkpoint {
		shown = append(shown, s.pending[0])
		s.pending = s.pending[1:]
	}
	s.mu.Unlock()
	for _, p := range shown {
		s.world.show(s.ctx.Operator, s.ctx.Task, p.checkpoint, p.rows)
		close(p.shown)
		s.ctx.Published(p.checkpoint)
	}
}

func encodeRows(rows []Row) [][]byte {
	var b []byte
	for _, r := range rows {
		for _, v := range []int64{r.Key, r.Seq, r.N} {
			b = binary.LittleEndian.AppendUint64(b, uint64(v))
		}
	}
	return [][]byte{b}
}

func decodeRows(chunks [][]byte) []Row {
	b := slices.Concat(chunks...)
	var rows []Row
	for ; len(b) >= 24; b = b[24:] {
		at := func(i int) int64 { return int64(binary.LittleEndian.Uint64(b[8*i:])) }
		rows = append(rows, Row{at(0), at(1), at(2)})
	}
	return rows
}
