package file

import (
	"strings"
	"testing"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/connector/connectortest"
)

func TestTheSuitesHold(t *testing.T) {
	dir := t.TempDir()
	next := int64(0)
	t.Run("sink", func(t *testing.T) {
		connectortest.Sink(t, connectortest.SinkCase{
			Open: func(t *testing.T) connector.Sink { return sinkOf(t, SinkConfig{Path: dir + "/", RollBytes: 1}) },
			Rows: func(n int) *batch.Batch {
				b := batch.NewBuilder(rowSchema)
				for range n {
					b.Column(0).AppendInt64(next)
					b.Column(1).AppendString("x")
					b.EndRow(batch.NoTime)
					next++
				}
				return b.Finish("", 0)
			},
			Visible: func(t *testing.T) []string { return strings.Fields(visible(t, dir)) },
		})
	})
	t.Run("source", func(t *testing.T) {
		connectortest.Source(t, func(t *testing.T) connector.Source {
			return sourceOf(t, "json", SourceConfig{Path: dir + "/*.jsonl"})
		})
	})
}
