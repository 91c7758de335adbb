package jetstream

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	nats_js "github.com/nats-io/nats.go/jetstream"
)

// storeSlack is kept free of the largest message for the headers of a frame.
const storeSlack = 8 << 10

// LargestFrame is the largest frame that a connection takes.
func LargestFrame(nc *nats.Conn) int64 { return nc.MaxPayload() - storeSlack }

// StoreFrame stores a frame in a partition and waits until it is. With an id a
// frame that was stored under the same one within the topic's Deduplicate is not
// stored again, and duplicate says so.
func StoreFrame(ctx context.Context, nc *nats.Conn, t Topic, partition int, stored []byte, id string) (duplicate bool, err error) {
	t = t.Normalize()
	js, err := nats_js.New(nc)
	if err != nil {
		return false, err
	}
	h := nats.Header{headerFrame: {frameVersion1}}
	if id != "" {
		h.Set(nats_js.MsgIDHeader, id)
	}
	pad(h)
	ack, err := js.PublishMsg(ctx, &nats.Msg{Subject: t.recordSubject(partition), Header: h, Data: stored})
	if err != nil {
		return false, fmt.Errorf("store in topic %s: %w", t.Name, err)
	}
	return ack.Duplicate, nil
}
