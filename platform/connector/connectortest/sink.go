package connectortest

import (
	"slices"
	"testing"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector"
)

// SinkCase is what the suite of an exactly-once sink needs.
type SinkCase struct {
	// Open makes the sink anew, as another process would.
	Open func(t *testing.T) connector.Sink
	// Rows makes a batch of n rows that differ from those of other calls.
	Rows func(n int) *batch.Batch
	// Visible lists what stands outside, one text a row, in any order.
	Visible func(t *testing.T) []string
}

// Sink checks an exactly-once sink: nothing shows before Publish, everything
// once after it, however often and from wherever it is called, and what one
// writer prepares another process can publish.
func Sink(t *testing.T, c SinkCase) {
	live := batch.Live()
	w, err := c.Open(t).Open(t.Context(), connector.WriterID{Pipeline: "suite", Sink: "sink"})
	if err != nil {
		t.Fatal(err)
	}
	visible := 0
	for epoch := uint64(1); epoch <= 4; epoch++ {
		rows := 100 * int(epoch-1) // the first epoch is empty
		if rows > 0 {
			b := c.Rows(rows)
			if err := w.Write(b); err != nil {
				t.Fatal(err)
			}
			b.Release()
		}
		txn, err := w.Prepare(t.Context(), epoch*7)
		if err != nil {
			t.Fatal(err)
		}
		if (len(txn.Chunks) > 0) != (rows > 0) || txn.Checkpoint != epoch*7 {
			t.Errorf("epoch %d of %d rows: %d chunks, checkpoint %d", epoch, rows, len(txn.Chunks), txn.Checkpoint)
		}
		if got := len(c.Visible(t)); got != visible {
			t.Errorf("epoch %d: %d rows are visible before it is published, want %d", epoch, got, visible)
		}
		kept := txn
		kept.Chunks = nil
		for _, chunk := range txn.Chunks { // as they would come back from a checkpoint
			kept.Chunks = append(kept.Chunks, slices.Clone(chunk))
		}
		sink := c.Open(t)
		for range 2 {
			if err := sink.Publish(t.Context(), kept); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Open(t).Publish(t.Context(), txn); err != nil {
			t.Fatal(err)
		}
		w.Recycle(txn)
		visible += rows
		got := c.Visible(t)
		slices.Sort(got)
		if n := len(got); n != visible || len(slices.Compact(got)) != visible {
			t.Errorf("epoch %d: %d rows are visible, %d of them different, want %d", epoch, n, len(slices.Compact(got)), visible)
		}
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if n := batch.Live() - live; n != 0 {
		t.Errorf("%d live buffers", n)
	}
}
