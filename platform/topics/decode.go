package topics

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/format/json"
)

// Columns of a plain byte stream.
const (
	rawKey = iota
	rawValue
	rawTime
	rawHeaders
)

// Headers of stored messages, as the connector writes them.
const (
	headerFrame  = "Weir-Frame"
	headerKey    = "Weir-Key"
	headerKeyB64 = "Weir-Key-B64"
	headerTime   = "Weir-Time"
	headerNull   = "Weir-Null"
	headerPad    = "P"
	// headerError goes with a message that cannot be read; it stands in no stored message.
	headerError = "Weir-Error"
	// headerKind says of a row of typed columns that it is no insert; it stands in no stored message either.
	headerKind = "Weir-Kind"
)

// decoding turns messages into records for people.
type decoding struct {
	topic   jetstream.Topic
	frames  frame.StoredDecoder
	buf     []byte
	encoder *json.Encoder
	of      *schema.Schema // that encoder was made for
}

// records gives the records of a message; the caller may keep them.
func (d *decoding) records(m Message, give func(*weirv1.Record) error) error {
	partition, err := partitionOf(d.topic, m.Subject)
	if err != nil {
		return err
	}
	if m.Header.Get(headerFrame) == "" {
		rec := plainRecord(m)
		rec.Partition, rec.Sequence = partition, m.Sequence
		return give(rec)
	}
	var stored frame.Stored
	d.buf, err = d.frames.Decode(m.Data, d.buf, &stored)
	if err == nil {
		err = frame.ValidateUTF8(stored.Columns)
	}
	if err != nil {
		return give(&weirv1.Record{
			Value: bytes.Clone(m.Data), Time: timestamppb.New(m.Time), Partition: partition, Sequence: m.Sequence,
			Headers: map[string][]byte{headerError: []byte("a damaged frame: " + err.Error())},
		})
	}
	raw := stored.Schema.Equal(schema.Raw())
	if !raw && (d.of == nil || !d.of.Equal(stored.Schema)) {
		d.encoder, d.of = json.NewEncoder(stored.Schema), stored.Schema
	}
	for row := range stored.Rows {
		rec := &weirv1.Record{Partition: partition, Sequence: m.Sequence, Row: uint32(row), Time: timestamppb.New(m.Time)}
		if raw {
			fillRaw(rec, stored.Columns, row)
		} else {
			rec.Json = string(d.encoder.Append(nil, stored.Columns, row))
			if row < len(stored.Times) && stored.Times[row] != batch.NoTime {
				rec.Time = timestamppb.New(time.UnixMicro(stored.Times[row]))
			}
		}
		if row < len(stored.Kinds) && stored.Kinds[row] != byte(batch.Insert) {
			rec.Headers = map[string][]byte{headerKind: []byte(kindName(stored.Kinds[row]))}
		}
		if err := give(rec); err != nil {
			return err
		}
	}
	return nil
}

// kindName says what a row that is no insert does to an earlier one.
func kindName(k byte) string {
	switch batch.Kind(k) {
	case batch.UpdateBefore:
		return "update_before"
	case batch.UpdateAfter:
		return "update_after"
	case batch.Delete:
		return "delete"
	}
	return strconv.Itoa(int(k))
}

func fillRaw(rec *weirv1.Record, columns []frame.Column, row int) {
	if c := &columns[rawKey]; !c.Null(row) {
		rec.Key = present(c.BytesAt(row))
	}
	if c := &columns[rawValue]; !c.Null(row) {
		rec.Value = present(c.BytesAt(row))
	}
	if c := &columns[rawTime]; !c.Null(row) {
		rec.Time = timestamppb.New(time.UnixMicro(c.Int64s()[row]))
	}
	headers := &columns[rawHeaders]
	if headers.Null(row) {
		return
	}
	entries := &headers.Children[0]
	from, to := headers.Span(row)
	for i := from; i < to; i++ {
		if rec.Headers == nil {
			rec.Headers = map[string][]byte{}
		}
		rec.Headers[entries.Children[0].StringAt(i)] = bytes.Clone(entries.Children[1].BytesAt(i))
	}
}

// present copies bytes that are there, if only none: nil would say absent.
func present(b []byte) []byte { return append([]byte{}, b...) }

// plainRecord reads a message that is one record.
func plainRecord(m Message) *weirv1.Record {
	rec := &weirv1.Record{Value: present(m.Data), Time: timestamppb.New(m.Time)}
	for name, values := range m.Header {
		value := ""
		if len(values) > 0 {
			value = values[0]
		}
		switch name {
		case headerKey:
			rec.Key = []byte(value)
		case headerKeyB64:
			if key, err := base64.StdEncoding.DecodeString(value); err == nil {
				rec.Key = key
			}
		case headerTime:
			if micros, err := strconv.ParseInt(value, 10, 64); err == nil {
				rec.Time = timestamppb.New(time.UnixMicro(micros))
			}
		case headerNull:
			rec.Value = nil
		default:
			if strings.HasPrefix(name, "Nats-") || strings.HasPrefix(name, "Weir-") || name == headerPad {
				continue
			}
			if rec.Headers == nil {
				rec.Headers = map[string][]byte{}
			}
			rec.Headers[name] = []byte(value)
		}
	}
	if rec.Key == nil {
		// weir.t.<namespace>.<topic>.<partition>.k.<key>, by a plain client.
		if parts := strings.SplitN(m.Subject, ".", subjectTokens); len(parts) == subjectTokens && parts[subjectKind] == "k" {
			rec.Key = []byte(parts[subjectTokens-1])
		}
	}
	return rec
}

// Tokens of a stored message's subject.
const (
	subjectPartition = 4
	subjectKind      = 5
	subjectTokens    = 7
)

func partitionOf(t jetstream.Topic, subject string) (uint32, error) {
	parts := strings.SplitN(subject, ".", subjectTokens)
	if len(parts) > subjectPartition {
		if p, err := strconv.ParseUint(parts[subjectPartition], 10, 32); err == nil && p < uint64(t.Partitions) {
			return uint32(p), nil
		}
	}
	return 0, fmt.Errorf("subject %s is not of a partition of topic %s", subject, t.Name)
}
