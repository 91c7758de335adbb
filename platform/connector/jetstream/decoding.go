package jetstream

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/format"
)

// Limits of the batches a reader gives.
const (
	maxBatchRows  = 4096
	maxBatchBytes = 1 << 20
)

// decoding turns a partition's messages into batches of the declared columns.
type decoding struct {
	cfg       SourceConfig
	partition int
	raw       bool // the declared columns are those of a plain byte stream

	decoder format.Decoder
	builder *batch.Builder
	frames  frame.StoredDecoder
	fitting *projection // for the last foreign schema
	kinds   []byte      // of the rows that convert gathers

	// The frame at hand.
	stored   frame.Stored
	mode     mode
	whole    *batch.Batch // the frame as a batch; its columns are the declared ones with asIs only
	bad      error        // why no row of it can be read
	data     []byte
	delivery delivery
	row      int
	rows     int
}

// mode is what has to be done with the rows of the frame at hand.
type mode uint8

const (
	asIs        mode = iota // nothing: its columns are the declared ones
	decodeRows              // each is a record with a value to decode
	convertRows             // columns have to widen, or nulls to be looked for
)

func newDecoding(cfg SourceConfig, partition int) *decoding {
	d := &decoding{cfg: cfg, partition: partition, raw: cfg.Schema.Equal(schema.Raw()), builder: batch.NewBuilder(cfg.Schema)}
	if cfg.NewDecoder != nil {
		d.decoder = cfg.NewDecoder()
	}
	return d
}

func micros(d delivery) int64 { return d.timeNanos / 1000 }

// record decodes a message that is one record.
func (d *decoding) record(m *nats.Msg, at delivery, fetch *connector.Fetch) {
	r, err := readRecord(m, micros(at))
	if err == nil {
		err = d.append(&r, at.stream, 0)
	}
	if err != nil {
		fetch.Rejected = append(fetch.Rejected, d.reject(r, at.stream, 0, err))
	}
}

// append decodes a record into the batch at hand.
func (d *decoding) append(r *record, sequence uint64, row int32) error {
	switch {
	case d.raw && d.decoder == nil:
		appendRaw(d.builder, r)
	case d.decoder == nil:
		return fmt.Errorf("it is no frame of typed columns, and the source has no format to decode it: set format")
	default:
		rec := format.Record{Key: r.key, Value: r.value, TimeMicros: r.timeMicros, Headers: r.headers}
		if err := d.decoder.Decode(d.builder, &rec); err != nil {
			return err
		}
	}
	d.builder.EndRead(r.timeMicros, sequence, row)
	return nil
}

func appendRaw(b *batch.Builder, r *record) {
	appendNullable(b.Column(rawKey), r.key)
	appendNullable(b.Column(rawValue), r.value)
	b.Column(rawTime).AppendInt64(r.timeMicros)
	headers := b.Column(rawHeaders)
	if len(r.headers) == 0 {
		headers.AppendNull()
		return
	}
	headers.AppendMap()
	for name, value := range r.headers {
		headers.AppendEntry()
		headers.MapKey().AppendString(name)
		headers.MapValue().AppendBytes(value)
	}
}

func (d *decoding) reject(r record, sequence uint64, row int32, err error) connector.Rejected {
	topic := d.cfg.Topic.Name
	return connector.Rejected{
		Record: connector.Raw{
			Key: r.key, Value: r.value, TimeMicros: r.timeMicros, Headers: r.headers,
			Topic: topic, Partition: int32(d.partition), Sequence: sequence, Row: row,
		},
		Reason: err.Error(),
		Position: topic + " partition " + strconv.Itoa(d.partition) + " sequence " + strconv.FormatUint(sequence, 10) +
			" row " + strconv.Itoa(int(row)),
	}
}

// finish gives what append gathered; nil if nothing.
func (d *decoding) finish() *batch.Batch {
	if d.builder.Len() == 0 {
		return nil
	}
	return d.builder.Finish(d.cfg.Topic.Name, int32(d.partition))
}

// open takes a message that is a frame; its rows come by next, without the
// first ones.
func (d *decoding) open(m *nats.Msg, at delivery, skip int) {
	d.data, d.delivery, d.bad = m.Data, at, nil
	buf := frameBuffer(m.Data)
	var room []byte
	if buf != nil {
		room = buf.Bytes
	}
	if d.stored.Schema != nil && d.stored.Schema.Nested() {
		// Batches share their nested columns' views with what the decoder keeps.
		d.stored = frame.Stored{}
	}
	_, err := d.frames.Decode(m.Data, room, &d.stored)
	if err == nil {
		err = frame.ValidateUTF8(d.stored.Columns)
	}
	if err != nil {
		d.stored.Schema = nil
		d.bad, d.row, d.rows = err, 0, 1
		if buf != nil {
			buf.Release()
		}
		return
	}
	d.row, d.rows = min(skip, d.stored.Rows), d.stored.Rows
	d.fit(buf)
}

// frameBuffer is memory for a frame that cannot be read where it stands.
func frameBuffer(data []byte) *batch.Buffer {
	if len(data) < abi.StoredHeaderSize {
		return nil
	}
	if frame.Codec(data[5]) == frame.CodecNone && isAligned(data) {
		return nil
	}
	size := binary.LittleEndian.Uint32(data[20:])
	if size > frame.MaxStoredRaw {
		return nil
	}
	return batch.NewBuffer(int(size))
}

// more tells whether the frame at hand has rows left.
func (d *decoding) more() bool { return d.row < d.rows }

// next gives the next rows of the frame at hand.
func (d *decoding) next() connector.Fetch {
	fetch := connector.Fetch{Bytes: len(d.data)}
	if d.row > 0 {
		fetch.Bytes = 0
	}
	if d.bad != nil {
		d.row = d.rows
		fetch.Rejected = append(fetch.Rejected, d.reject(record{value: d.data, timeMicros: micros(d.delivery)}, d.delivery.stream, 0, d.bad))
		return fetch
	}
	n := min(d.rows-d.row, maxBatchRows)
	if d.mode == asIs {
		fetch.Batch = d.slice(n)
	} else {
		d.convert(n, &fetch)
	}
	d.row += n
	if !d.more() {
		d.drop()
	}
	return fetch
}

// slice gives rows of the frame as they stand in it.
func (d *decoding) slice(n int) *batch.Batch {
	if n == d.whole.Physical() {
		return d.whole.Retain()
	}
	v := d.whole.Retain().View()
	for i, rows := 0, v.Select(n); i < n; i++ {
		rows[i] = int32(d.row + i)
	}
	return v
}

func (d *decoding) drop() {
	if d.whole != nil {
		d.whole.Release()
		d.whole = nil
	}
	d.data = nil
}

func (d *decoding) close() {
	d.row = d.rows
	d.drop()
}
