package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/failpoint"
)

// Limits of publishing a transaction.
const (
	parallelPartitions = 16 // partitions of a transaction that are published at a time
	chunkAttempts      = 5  // tries of one chunk before the caller is asked to try again later
)

// publisher rolls committed transactions forward.
//
// A writer's subject in a partition holds its chunks alone, and every chunk says
// what must stand before it there. So the subject's last message tells how far a
// transaction has come, whoever brought it there, and a chunk is stored once
// however often it is sent. (A zombie does no harm: it sends the same bytes.)
type publisher struct {
	nc    *nats.Conn
	topic Topic

	mu    sync.Mutex
	known map[string]knownEnd // of subjects that were published to from here
}

// knownEnd is a subject's last message, as far as this process knows: it saves
// asking, and a wrong one is refused by the server.
type knownEnd struct{ sequence, checkpoint uint64 }

func (p *publisher) publish(ctx context.Context, t connector.Transaction) error {
	if len(t.Chunks) == 0 {
		return nil
	}
	meta, err := parseTxnMeta(t.Meta)
	if err != nil {
		return fmt.Errorf("publish transaction %d of %s: %w", t.Checkpoint, t.Writer, err)
	}
	byPartition := make([][][]byte, p.topic.Partitions)
	for _, c := range t.Chunks {
		partition, err := chunkPartition(c)
		if err == nil && partition >= len(byPartition) {
			err = fmt.Errorf("%w: partition %d, the topic has %d", errChunk, partition, len(byPartition))
		}
		if err != nil {
			return fmt.Errorf("publish transaction %d of %s: %w: %w", t.Checkpoint, t.Writer, connector.ErrPermanent, err)
		}
		byPartition[partition] = append(byPartition[partition], c)
	}
	var (
		wg    sync.WaitGroup
		slots = make(chan struct{}, parallelPartitions)
		errs  = make([]error, len(byPartition))
	)
	for partition, chunks := range byPartition {
		if len(chunks) == 0 {
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			r := run{publisher: p, meta: meta, txn: t, chunks: chunks,
				subject: p.topic.writerSubject(partition, writerToken(t.Writer))}
			errs[partition] = r.do(ctx)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("publish transaction %d of %s: %w", t.Checkpoint, t.Writer, err)
	}
	return nil
}

// run publishes one transaction's chunks of one partition.
type run struct {
	*publisher
	meta    txnMeta
	txn     connector.Transaction
	subject string
	chunks  [][]byte

	next   int    // chunk to publish, from 0
	expect uint64 // sequence of the subject's last message
}

func (r *run) do(ctx context.Context) error {
	r.mu.Lock()
	last, known := r.known[r.subject]
	r.mu.Unlock()
	r.expect = last.sequence
	if !known || last.checkpoint >= r.txn.Checkpoint {
		if err := r.look(ctx); err != nil {
			return err
		}
	}
	attempts := 0
	for r.next < len(r.chunks) {
		sequence, err := r.send(ctx)
		if err == nil {
			r.next, r.expect, attempts = r.next+1, sequence, 0
			continue
		}
		attempts++
		r.forget()
		if ctx.Err() != nil || attempts == chunkAttempts || errors.Is(err, connector.ErrPermanent) {
			return err
		}
		// Wrong sequence, or no answer: what the leader holds says which.
		if err := r.look(ctx); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known[r.subject].sequence < r.expect {
		r.known[r.subject] = knownEnd{r.expect, r.txn.Checkpoint}
	}
	return nil
}

func (r *run) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, r.subject)
}

func (r *run) send(ctx context.Context) (uint64, error) {
	c := r.chunks[r.next]
	h, data, err := chunkMessage(c)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", connector.ErrPermanent, err)
	}
	mark := txnMark{r.txn.Checkpoint, r.next + 1, len(r.chunks), chunkDigest(c)}
	h[headerTxn] = []string{mark.String()}
	h[headerExpect] = []string{strconv.FormatUint(r.expect, 10)}
	pad(h)
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	answer, err := r.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: r.subject, Header: h, Data: data})
	if err == nil {
		err = failpoint.Hit(failpoint.SinkAckLost)
	}
	if err != nil {
		return 0, fmt.Errorf("publish chunk %s: %w", mark, err)
	}
	sequence, err := readAck(answer)
	if err != nil {
		return 0, fmt.Errorf("publish chunk %s: %w", mark, err)
	}
	return sequence, failpoint.Hit(failpoint.SinkChunkPublished)
}

// look asks the stream's leader how far the transaction has come.
func (r *run) look(ctx context.Context) error {
	m, ok, err := r.topic.message(ctx, r.nc, messageQuery{Last: r.subject})
	if err != nil {
		return err
	}
	if !ok {
		return r.lookAtEmpty(ctx)
	}
	mark, err := parseTxnMark(m.headers().Get(headerTxn))
	if err != nil {
		return r.doubt(m.Sequence, fmt.Sprintf("message %d of its own subject %s is not its own: %v", m.Sequence, r.subject, err))
	}
	r.expect = m.Sequence
	switch {
	case mark.checkpoint > r.txn.Checkpoint: // a later one stands there, so this one is whole
		r.next = len(r.chunks)
	case mark.checkpoint < r.txn.Checkpoint:
		r.next = 0
	case mark.of != len(r.chunks) || mark.digest != chunkDigest(r.chunks[mark.chunk-1]):
		return r.doubt(m.Sequence, fmt.Sprintf("message %d of subject %s has the same checkpoint and other content", m.Sequence, r.subject))
	default:
		r.next = mark.chunk
	}
	return nil
}

// lookAtEmpty decides when the subject holds nothing. If nothing behind the last
// sequence at Prepare was removed, nothing of the transaction was there.
func (r *run) lookAtEmpty(ctx context.Context) error {
	s, err := r.topic.streamInfo(ctx, r.nc)
	if err != nil {
		return err
	}
	switch {
	case s.incarnation != r.meta.Incarnation || r.topic.Stream != r.meta.Stream:
		return r.doubt(0, fmt.Sprintf("stream %s is incarnation %d, the transaction was prepared for stream %s, incarnation %d: it was recreated",
			r.topic.Stream, s.incarnation, r.meta.Stream, r.meta.Incarnation))
	case s.last < r.meta.Last:
		return r.doubt(0, fmt.Sprintf("stream %s ends at %d and ended at %d before: it was recreated or cut", r.topic.Stream, s.last, r.meta.Last))
	case s.first > r.meta.Last+1:
		return r.doubt(0, fmt.Sprintf("stream %s begins at %d: what was published behind %d may have been removed", r.topic.Stream, s.first, r.meta.Last))
	}
	r.next, r.expect = 0, 0
	return nil
}

// doubt does as the user decided where nothing tells how far the transaction has
// come; last is the sequence of the subject's last message.
func (r *run) doubt(last uint64, why string) error {
	r.expect = last
	switch r.txn.Doubt {
	case connector.AssumePublished:
		r.next = len(r.chunks)
	case connector.PublishAgain:
		r.next = 0
	default:
		return fmt.Errorf("%w: %s", connector.ErrInDoubt, why)
	}
	return nil
}
