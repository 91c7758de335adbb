package jetstream

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector"
)

// writer encodes rows to the exact messages that are published. With exactly
// once they wait for the commit as chunks; with at least once they go at once.
type writer struct {
	sink    *Sink
	id      connector.WriterID
	scatter *scatter
	flight  *flight // at least once only
	encoder frame.StoredEncoder

	arena  arena
	chunks [][]byte
	bytes  int // of chunks
	closed bool
	end    streamEnd
}

// Write encodes the rows of b.
func (w *writer) Write(b *batch.Batch) error {
	if w.closed {
		return errClosed
	}
	if w.flight == nil {
		w.end.ask(w.sink)
	}
	return w.scatter.write(b, w)
}

// frame closes the frame of a partition.
func (w *writer) frame(partition int, a *accumulator) error {
	if a.len() == 0 {
		return nil
	}
	stored := a.stored()
	room := a.bytes + a.bytes/2 + 4096
	dst := appendChunkHeader(w.arena.room(room), chunkFrame, partition)
	dst, err := w.encoder.Append(dst, &stored, w.sink.cfg.Codec)
	a.reset()
	if err != nil {
		return fmt.Errorf("write to topic %s: %w", w.sink.cfg.Topic.Name, err)
	}
	return w.chunk(partition, dst)
}

// record writes a message of one record.
func (w *writer) record(partition int, r record) error {
	size := 64 + len(r.key) + len(r.value)
	for name, value := range r.headers {
		size += len(name) + len(value) + 20
	}
	return w.chunk(partition, appendRecordChunk(w.arena.room(size), partition, r))
}

func (w *writer) chunk(partition int, c []byte) error {
	if limit := w.sink.nc.MaxPayload() - maxHeaderBytes; int64(len(c)) > limit {
		return fmt.Errorf("write to topic %s: %w: %w", w.sink.cfg.Topic.Name, connector.ErrPermanent, tooLarge(len(c), limit))
	}
	if w.flight == nil {
		if w.bytes += len(c); w.bytes > MaxTransactionBytes {
			return fmt.Errorf("write to topic %s: %w: more than %d MiB wait for one checkpoint: shorten its interval, find out why checkpoints do not finish, or choose %s",
				w.sink.cfg.Topic.Name, connector.ErrPermanent, MaxTransactionBytes>>20, connector.AtLeastOnce)
		}
		w.chunks = append(w.chunks, w.arena.keep(c))
		return nil
	}
	h, data, err := chunkMessage(c)
	if err != nil {
		return err
	}
	pad(h)
	// The connection copies the message, so the arena's memory is free again.
	if err := w.flight.send(context.Background(), w.sink.cfg.Topic.recordSubject(partition), h, data); err != nil {
		return fmt.Errorf("write to topic %s: %w", w.sink.cfg.Topic.Name, err)
	}
	return nil
}

// MaxTransactionBytes bounds what a writer keeps until a checkpoint takes it.
const MaxTransactionBytes = 512 << 20

// maxHeaderBytes is kept free of every message for its headers.
const maxHeaderBytes = 4 << 10

// Prepare closes all frames and notes where the stream ends: nothing of the
// transaction stands before that.
func (w *writer) Prepare(ctx context.Context, checkpoint uint64) (connector.Transaction, error) {
	t := connector.Transaction{Writer: w.id, Checkpoint: checkpoint}
	if w.flight != nil {
		return t, w.Flush(ctx)
	}
	if err := w.scatter.flush(w); err != nil {
		return t, err
	}
	if len(w.chunks) == 0 {
		return t, nil
	}
	topic := w.sink.cfg.Topic
	s, err := w.end.get(ctx, w.sink)
	if err != nil {
		return t, fmt.Errorf("prepare transaction %d of %s: %w", checkpoint, w.id, err)
	}
	if s.incarnation != topic.Incarnation {
		return t, fmt.Errorf("prepare transaction %d of %s: stream %s is incarnation %d, the topic is %d: it was recreated: %w",
			checkpoint, w.id, topic.Stream, s.incarnation, topic.Incarnation, ErrUnfit)
	}
	if t.Meta, err = json.Marshal(txnMeta{topic.Stream, s.incarnation, s.last}); err != nil {
		return t, err
	}
	t.Chunks = w.chunks
	w.chunks, w.bytes = nil, 0
	w.arena.seal(checkpoint)
	return t, nil
}

// Push sends what was written and does not wait until it is stored.
func (w *writer) Push(context.Context) error {
	if w.flight == nil {
		return nil
	}
	return w.scatter.flush(w)
}

// Flush sends what was written and waits until it is stored.
func (w *writer) Flush(ctx context.Context) error {
	if w.flight == nil {
		return nil // an exactly-once writer shows nothing before the commit
	}
	if err := w.scatter.flush(w); err != nil {
		return err
	}
	if err := w.flight.flush(ctx); err != nil {
		return fmt.Errorf("flush to topic %s: %w", w.sink.cfg.Topic.Name, err)
	}
	return nil
}

// State is nil: everything written is in the transaction.
func (w *writer) State() []byte { return nil }

// Restore has nothing to take back.
func (w *writer) Restore(state []byte) error {
	if len(state) > 0 {
		return fmt.Errorf("restore writer %s: a topic's writer has no state, %d bytes given", w.id, len(state))
	}
	return nil
}

// Recycle takes the memory of a published transaction back.
func (w *writer) Recycle(t connector.Transaction) { w.arena.recycle(t.Checkpoint) }

// Close drops what was not prepared.
func (w *writer) Close() error {
	w.closed = true
	w.end.close()
	if w.flight != nil {
		return w.flight.close()
	}
	return nil
}

// arena is the memory of chunks, in blocks that are used again once the
// transaction they belong to is published.
type arena struct {
	block []byte
	full  [][]byte
	epoch []sealed
	free  [][]byte
}

type sealed struct {
	checkpoint uint64
	blocks     [][]byte
}

const (
	arenaBlock   = 256 << 10
	maxFreeBlock = 64 // blocks kept for the next transaction: 16 MiB
)

// room gives an empty slice with that capacity at the end of the current block.
func (a *arena) room(n int) []byte {
	n += 8
	if cap(a.block)-len(a.block) < n {
		if cap(a.block) > 0 {
			a.full = append(a.full, a.block)
		}
		a.block = nil
		if last := len(a.free) - 1; last >= 0 && cap(a.free[last]) >= n {
			a.block, a.free = a.free[last][:0], a.free[:last]
		} else {
			a.block = make([]byte, 0, max(arenaBlock, n))
		}
	}
	at := (len(a.block) + 7) &^ 7 // frames are read where they stand
	return a.block[at:at:cap(a.block)]
}

// keep makes what was appended to room's slice stay.
func (a *arena) keep(c []byte) []byte {
	at := (len(a.block) + 7) &^ 7
	if end := at + len(c); end <= cap(a.block) && len(c) > 0 && &a.block[:at+1][at] == &c[0] {
		a.block = a.block[:end]
	}
	return c[:len(c):len(c)]
}

// seal ties all blocks to a transaction.
func (a *arena) seal(checkpoint uint64) {
	if len(a.block) > 0 {
		a.full = append(a.full, a.block)
		a.block = nil
	}
	a.epoch = append(a.epoch, sealed{checkpoint, a.full})
	a.full = nil
}

func (a *arena) recycle(checkpoint uint64) {
	for i, e := range a.epoch {
		if e.checkpoint != checkpoint {
			continue
		}
		for _, b := range e.blocks {
			if len(a.free) < maxFreeBlock && cap(b) == arenaBlock {
				a.free = append(a.free, b[:0])
			}
		}
		a.epoch = append(a.epoch[:i], a.epoch[i+1:]...)
		return
	}
}
