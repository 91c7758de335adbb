package jetstream

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// inactiveThreshold is when the server forgets a consumer whose reader is gone.
const inactiveThreshold = 30 * time.Second

// How long a request for messages stands, and how often the server says that it does.
const (
	pullExpires   = 30 * time.Second
	pullHeartbeat = 2 * time.Second
)

// startAt says where a consumer begins; the zero value is the first message.
type startAt struct {
	sequence uint64
	time     time.Time
	end      bool // only what comes from now on
}

// consumer is an ephemeral, ack-less pull consumer in the server's memory.
type consumer struct {
	stream, name string
	pending      uint64 // messages that waited when it was made
	before       uint64 // the stream's sequence before the first one it may deliver
}

type consumerConfig struct {
	Name          string     `json:"name"`
	Deliver       string     `json:"deliver_policy"`
	StartSequence uint64     `json:"opt_start_seq,omitempty"`
	StartTime     *time.Time `json:"opt_start_time,omitempty"`
	Ack           string     `json:"ack_policy"`
	Filter        string     `json:"filter_subject"`
	Replay        string     `json:"replay_policy"`
	Inactive      int64      `json:"inactive_threshold"`
	Replicas      int        `json:"num_replicas"`
	Memory        bool       `json:"mem_storage"`
}

func createConsumer(ctx context.Context, nc *nats.Conn, t Topic, partition int, from startAt) (consumer, error) {
	c := consumer{stream: t.Stream, name: "weir-" + nuid.Next()}
	cfg := consumerConfig{
		Name: c.name, Deliver: "all", Ack: "none", Replay: "instant",
		Filter: t.PartitionFilter(partition), Inactive: int64(inactiveThreshold), Replicas: 1, Memory: true,
	}
	switch {
	case from.end:
		cfg.Deliver = "new"
	case !from.time.IsZero():
		cfg.Deliver, cfg.StartTime = "by_start_time", &from.time
	case from.sequence > 0:
		cfg.Deliver, cfg.StartSequence = "by_start_sequence", from.sequence
	}
	var answer struct {
		apiError
		Pending   uint64 `json:"num_pending"`
		Delivered struct {
			Stream uint64 `json:"stream_seq"`
		} `json:"delivered"`
	}
	body := map[string]any{"stream_name": t.Stream, "config": cfg, "action": "create"}
	call := "CONSUMER.CREATE." + t.Stream + "." + c.name + "." + cfg.Filter
	if err := request(ctx, nc, call, body, &answer); err != nil {
		return c, fmt.Errorf("open partition %d of topic %s: %w", partition, t.Name, err)
	}
	if answer.notFound() {
		return c, fmt.Errorf("open partition %d of topic %s: stream %s: %w", partition, t.Name, t.Stream, ErrNoTopic)
	}
	if answer.Error != nil {
		return c, fmt.Errorf("open partition %d of topic %s: %w", partition, t.Name, answer.Error)
	}
	c.pending, c.before = answer.Pending, answer.Delivered.Stream
	return c, nil
}

// delete tells the server that nobody reads any more. If the word is lost the
// server finds out by itself.
func (c consumer) delete(nc *nats.Conn) {
	_ = nc.Publish("$JS.API.CONSUMER.DELETE."+c.stream+"."+c.name, nil)
}

// pull asks for the next messages; they come to the reply subject.
func (c consumer) pull(nc *nats.Conn, reply string, batch int) error {
	body, err := json.Marshal(struct {
		Batch     int   `json:"batch"`
		Expires   int64 `json:"expires"`
		Heartbeat int64 `json:"idle_heartbeat"`
	}{batch, int64(pullExpires), int64(pullHeartbeat)})
	if err != nil {
		return err
	}
	return nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+c.stream+"."+c.name, reply, body)
}

// delivery is what a delivered message's reply subject tells of it.
type delivery struct {
	stream, consumer uint64 // sequences
	timeNanos        int64
	pending          uint64
}

// parseDelivery reads
//
//	$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>
//
// or its longer form, which has domain and account in front and a token behind.
// It takes the fields from the place that the number of tokens gives.
func parseDelivery(reply string) (d delivery, ok bool) {
	var dots [12]int
	n := 0
	for i := 0; i < len(reply); i++ {
		if reply[i] == '.' {
			if n == len(dots) {
				return d, false
			}
			dots[n] = i
			n++
		}
	}
	first := 4 // the dot before <delivered> is dots[3]; before the stream's sequence dots[4]
	switch n {
	case 8:
	case 10, 11:
		first = 6
	default:
		return d, false
	}
	field := func(i int) uint64 {
		end := len(reply)
		if first+i+1 < n {
			end = dots[first+i+1]
		}
		v, err := strconv.ParseUint(reply[dots[first+i]+1:end], 10, 64)
		if err != nil {
			n = 0
		}
		return v
	}
	tokens := n
	d = delivery{stream: field(0), consumer: field(1), timeNanos: int64(field(2)), pending: field(3)}
	return d, n == tokens
}
