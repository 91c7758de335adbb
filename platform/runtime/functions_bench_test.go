package runtime_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/operator/all"
	"github.com/weirstream/weir/platform/runtime/runtimetest"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/platform/worker/workertest"
	"sync/atomic"
)

// bouncer sends each message on to another address, and counts: the least that a
// function can do, without state and without a guest.
type bouncer struct {
	ctx   *operator.Context
	count *atomic.Int64
	sent  *batch.Builder
}

func (c *bouncer) Open(ctx *operator.Context) error {
	c.ctx, c.sent = ctx, batch.NewBuilder(functions.Sent)
	return nil
}

func (c *bouncer) Process(_ int, b *batch.Batch) error {
	defer b.Release()
	s := c.sent
	for i := range b.Len() {
		row := b.Row(i)
		id := b.Columns[functions.MessageID].BytesAt(row)
		value := b.Columns[functions.MessageValue].BytesAt(row)
		s.Column(functions.SentType).AppendString(c.ctx.Operator)
		var next [10]byte
		copy(next[:], id)
		for j := 9; j > 3; j-- { // the next number, in decimal
			if next[j]++; next[j] <= '9' {
				break
			}
			next[j] = '0'
		}
		s.Column(functions.SentID).AppendBytes(next[:])
		s.Column(functions.SentTypename).AppendString("command")
		s.Column(functions.SentValue).AppendBytes(value)
		s.Column(functions.SentOp).AppendInt8(functions.OpSend)
		s.Column(functions.SentDelayMs).AppendInt64(0)
		s.Column(functions.SentToken).AppendNull()
		s.Column(functions.SentCallerType).AppendString(c.ctx.Operator)
		s.Column(functions.SentCallerID).AppendBytes(id)
		s.EndRow(batch.NoTime)
	}
	c.count.Add(int64(b.Len()))
	return c.ctx.Output.Emit(0, s.Finish("", 0))
}

func (c *bouncer) Barrier(element.Barrier) (operator.Snapshot, error) {
	return operator.Snapshot{Keyed: c.ctx.State.Freeze()}, nil
}
func (c *bouncer) Watermark(int, element.Watermark) error { return nil }
func (c *bouncer) Timers(int64) error                     { return nil }
func (c *bouncer) EndOfInput(int) error                   { return nil }
func (c *bouncer) Close() error                           { return nil }

// starter puts messages into the cycle, once.
type starter struct {
	roots
	n    int
	done bool
}

func (s *starter) Poll() (bool, error) {
	if s.done {
		return false, nil
	}
	for range 64 {
		if s.n == 0 {
			s.done = true
			return false, nil
		}
		for range min(s.n, 512) {
			s.n--
			s.out.Column(functions.MessageType).AppendString("test.weir/t0")
			s.out.Column(functions.MessageID).AppendString(fmt.Sprintf("id-%07d", s.n*7))
			s.out.Column(functions.MessageCallerType).AppendNull()
			s.out.Column(functions.MessageCallerID).AppendNull()
			s.out.Column(functions.MessageTypename).AppendString("command")
			s.out.Column(functions.MessageValue).AppendBytes(make([]byte, 100))
			s.out.EndRow(batch.NoTime)
		}
		if err := s.ctx.Output.Emit(0, s.out.Finish("", 0)); err != nil {
			return false, err
		}
	}
	return true, nil
}

// BenchmarkMessagesRound is what a message costs beside its function: the cycle,
// the dispatch, the outbox.
func BenchmarkMessagesRound(b *testing.B) {
	for _, width := range []int{1, 2} {
		b.Run(fmt.Sprintf("tasks=%d", width), func(b *testing.B) {
			var count atomic.Int64
			w := runtimetest.NewWorld(1, 1)
			run := workertest.New(b, application([]string{"test.weir/t0"}, width), memblob.New(memblob.Options{}), func(kind string) (operator.Operator, error) {
				switch kind {
				case "roots":
					return &starter{n: 20000}, nil
				case "commander":
					return &bouncer{count: &count}, nil
				case "unraw":
					return &unraw{}, nil
				}
				if make := all.Placed[kind]; make != nil {
					return make(), nil
				}
				return w.NewOperator(kind)
			})
			run.Start()
			for count.Load() < 200000 {
				time.Sleep(time.Millisecond)
			}
			b.ReportAllocs()
			b.ResetTimer()
			start, from := time.Now(), count.Load()
			for count.Load()-from < int64(b.N) {
				time.Sleep(100 * time.Microsecond)
			}
			b.ReportMetric(float64(count.Load()-from)/time.Since(start).Seconds(), "messages/s")
			b.StopTimer()
			run.Worker.Close()
		})
	}
}
