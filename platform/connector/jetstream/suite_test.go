package jetstream

import (
	"fmt"
	"testing"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/connector/connectortest"
)

func TestTheSuitesHold(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "t", Partitions: 3})
	next := 0
	t.Run("sink", func(t *testing.T) {
		connectortest.Sink(t, connectortest.SinkCase{
			Open: func(t *testing.T) connector.Sink { return sinkOf(t, nc, SinkConfig{Topic: topic, Key: "key"}) },
			Rows: func(n int) *batch.Batch {
				next += n
				return makeRows(next-n, n, 11)
			},
			Visible: func(t *testing.T) (out []string) {
				for key, numbers := range numbers(t, nc, topic, true) {
					for _, n := range numbers {
						out = append(out, fmt.Sprint(key, n))
					}
				}
				return out
			},
		})
	})
	t.Run("source", func(t *testing.T) {
		connectortest.Source(t, func(t *testing.T) connector.Source {
			return sourceOf(t, nc, SourceConfig{Topic: topic, Schema: rowSchema, Bound: connector.UntilEnd})
		})
	})
}

func TestReadingFramesAllocatesNothingPerRecord(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "t", Partitions: 1})
	sink := sinkOf(t, nc, SinkConfig{Topic: topic, Key: "key"})
	w := writerOf(t, sink, 0)
	const rows = 200_000
	for i := 0; i < rows; i += 4000 {
		writeRows(t, w, makeRows(i, 4000, 100))
	}
	publish(t, sink, prepare(t, w, 1))
	src := sourceOf(t, nc, SourceConfig{Topic: topic, Schema: rowSchema, Bound: connector.UntilEnd})
	read := func() {
		r := openSplit(t, src, 0, nil)
		got := 0
		for {
			f, err := r.Next(t.Context())
			if err != nil {
				break
			}
			if f.Batch != nil {
				got += f.Batch.Len()
				f.Batch.Release()
			}
		}
		if err := r.Close(); err != nil || got != rows {
			t.Fatal(got, err)
		}
	}
	// Server and client count too: a message costs them some tens of allocations.
	if per := testing.AllocsPerRun(2, read) / rows; per > 0.05 {
		t.Errorf("%.3f allocations per record", per)
	}
}
