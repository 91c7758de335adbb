package e2e

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
)

// running tells whether the job runs a revision.
func running(revision uint64) func(*weirv1.PipelineStatus) bool {
	return func(s *weirv1.PipelineStatus) bool {
		return s.Pipeline.Revision == revision && s.Pipeline.State == "running"
	}
}

// counts feeds count_sum: its keys are integers, key k stands in partition k mod n.
type counts struct {
	nc     *nats.Conn
	stream string
	topic  string
	last   []uint64 // per partition: sequence of its last message
}

func newCounts(nc *nats.Conn, stream, topic string, partitions int) *counts {
	return &counts{nc: nc, stream: stream, topic: topic, last: make([]uint64, partitions)}
}

// feed writes one record of each of the first n keys.
func (c *counts) feed(ctx context.Context, n int, value int64) error {
	js, err := jetstream.New(c.nc)
	if err != nil {
		return err
	}
	columns := schema.MustParse("key:int64,value:int64,pad:utf8")
	b := frame.NewBuilder(columns)
	const most = 2000
	for p := range c.last {
		for k := p; k < n; {
			b.Reset()
			for ; k < n && b.Column(0).Len() < most; k += len(c.last) {
				b.Column(0).AppendInt64(int64(k))
				b.Column(1).AppendInt64(value)
				b.Column(2).AppendString("p")
			}
			msg, err := frame.AppendStored(nil, frame.Stored{Schema: columns, Rows: b.Rows(), Columns: b.Columns()}, frame.CodecNone)
			if err != nil {
				return err
			}
			m := &nats.Msg{Subject: fmt.Sprintf("weir.t.%s.%s.%d.r", Namespace, c.topic, p), Data: msg, Header: nats.Header{"Weir-Frame": {"1"}}}
			if c.last[p], err = store(ctx, js, c.stream, m, c.last[p]); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkCounts: every key counted once, the first few `rounds` times, each count once.
func checkCounts(ctx context.Context, nc *nats.Conn, stream string, keys, few, rounds int) error {
	seen := make([]int64, keys)
	var p Mismatch
	if _, err := ReadStream(ctx, nc, stream, 1, func(m Message) error {
		for r := range m.Frame.Rows {
			k, n, sum := m.Frame.Columns[0].IntAt(r), m.Frame.Columns[1].IntAt(r), m.Frame.Columns[2].IntAt(r)
			if n != seen[k]+1 || sum != n*(n+1)/2 {
				p.add("message %d: key %d counts %d with sum %d after %d", m.Sequence, k, n, sum, seen[k])
			}
			seen[k] = n
		}
		return nil
	}); err != nil {
		return err
	}
	for k, n := range seen {
		want := int64(1)
		if k < few {
			want = int64(rounds)
		}
		if n != want {
			p.add("key %d ends at %d, want %d", k, n, want)
		}
	}
	return p.orNil()
}
