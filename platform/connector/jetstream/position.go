package jetstream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/weirstream/weir/platform/connector"
)

// position is where a reader stands in a partition. Everything of the partition
// up to Sequence was given; with Row > 0, of the message at Sequence itself only
// the rows before Row.
type position struct {
	Incarnation uint64 `json:"incarnation"`
	Sequence    uint64 `json:"sequence"`
	Row         int32  `json:"row,omitempty"`
	// TimeNanos is when the server stored the message at Sequence; 0: unknown.
	TimeNanos int64 `json:"time,omitempty"`
}

// maxPositionBytes bounds what is read as a position.
const maxPositionBytes = 1 << 10

// append writes p as JSON without allocating.
func (p position) append(dst []byte) connector.Position {
	dst = append(dst, `{"incarnation":`...)
	dst = strconv.AppendUint(dst, p.Incarnation, 10)
	dst = append(dst, `,"sequence":`...)
	dst = strconv.AppendUint(dst, p.Sequence, 10)
	if p.Row != 0 {
		dst = append(dst, `,"row":`...)
		dst = strconv.AppendInt(dst, int64(p.Row), 10)
	}
	if p.TimeNanos != 0 {
		dst = append(dst, `,"time":`...)
		dst = strconv.AppendInt(dst, p.TimeNanos, 10)
	}
	return append(dst, '}')
}

// parsePosition reads a position of this or a later version: fields that are
// not known are passed over.
func parsePosition(data connector.Position) (position, error) {
	var p position
	if len(data) > maxPositionBytes {
		return p, fmt.Errorf("position has %d bytes, the limit is %d", len(data), maxPositionBytes)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&p); err != nil {
		return p, fmt.Errorf("position %.100q: %w", data, err)
	}
	if d.More() {
		return p, fmt.Errorf("position %.100q: more follows its end", data)
	}
	if p.Row < 0 || p.TimeNanos < 0 || p.Row > 0 && p.Sequence == 0 {
		return p, fmt.Errorf("position %.100q: row, time or sequence out of range", data)
	}
	return p, nil
}
