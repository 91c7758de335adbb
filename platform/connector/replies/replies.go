// Package replies is the sink that answers calls of stateful functions at once:
// it publishes each answer where its caller waits. Nothing is kept: an answer that
// gets lost is the caller's timeout, and one that an earlier attempt gave already
// may come twice, which its caller passes over. It must not know who calls.
package replies

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/functions"
)

// headroom is kept free of the largest message for what stands before the value.
const headroom = 8 << 10

// Sink publishes answers on a connection.
type Sink struct {
	nc *nats.Conn
}

// New makes a sink for rows of functions.Message.
func New(nc *nats.Conn, rows *schema.Schema) (*Sink, error) {
	if !rows.Equal(functions.Message) {
		return nil, fmt.Errorf("answers are messages of %s, not of %s", functions.Message, rows)
	}
	return &Sink{nc: nc}, nil
}

// Open starts a writer.
func (s *Sink) Open(context.Context, connector.WriterID) (connector.Writer, error) {
	return &writer{sink: s}, nil
}

// Publish has nothing to do: there are no transactions.
func (*Sink) Publish(context.Context, connector.Transaction) error { return nil }

// Close leaves the connection to whoever made it.
func (*Sink) Close() error { return nil }

type writer struct {
	sink *Sink
	buf  []byte
}

// Write publishes the answers of calls that want them at once. What names no call
// is passed over: functions can send to any id.
func (w *writer) Write(b *batch.Batch) error {
	most := int(w.sink.nc.MaxPayload()) - headroom
	c := b.Columns
	for i := range b.Len() {
		row := b.Row(i)
		id := c[functions.MessageID].StringAt(row)
		call, err := functions.ParseCallID(id)
		if err != nil || !call.Instant() {
			continue
		}
		r := functions.Reply{
			Call: id, Typename: c[functions.MessageTypename].StringAt(row),
			From: functions.Address{Type: c[functions.MessageCallerType].StringAt(row), ID: c[functions.MessageCallerID].StringAt(row)},
		}
		if v := &c[functions.MessageValue]; !v.Null(row) {
			if r.Value = v.BytesAt(row); len(r.Value) > most {
				r.TooLarge, r.Value = len(r.Value), nil
			}
		}
		w.buf = r.Append(w.buf[:0])
		// A connection that takes nothing is no reason for the job to fail: what else
		// goes over it says so, and the caller calls again.
		_ = w.sink.nc.Publish(functions.ReplySubject(call.Gateway), w.buf)
	}
	return nil
}

// Prepare gives a transaction of nothing.
func (*writer) Prepare(_ context.Context, checkpoint uint64) (connector.Transaction, error) {
	return connector.Transaction{Checkpoint: checkpoint}, nil
}

// Flush has nothing to wait for: whoever lost an answer calls again.
func (*writer) Flush(context.Context) error { return nil }

// State is nothing.
func (*writer) State() []byte { return nil }

// Restore has nothing to take back.
func (*writer) Restore([]byte) error { return nil }

// Recycle has nothing to take back.
func (*writer) Recycle(connector.Transaction) {}

// Close has nothing to give back.
func (*writer) Close() error { return nil }
