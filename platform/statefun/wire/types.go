package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// KafkaRecordTypename is the type name of a record for StateFun's Kafka egress.
const KafkaRecordTypename = "type.googleapis.com/io.statefun.sdk.egress.KafkaProducerRecord"

// KafkaRecord is such a record.
type KafkaRecord struct{ Key, Value, Topic []byte }

// ReadKafkaRecord reads one, as views.
func ReadKafkaRecord(b []byte) (r KafkaRecord, err error) {
	err = fields(b, func(n protowire.Number, f field) (err error) {
		switch n {
		case 1:
			r.Key, err = f.text()
		case 2:
			r.Value, err = f.bytes()
		case 3:
			r.Topic, err = f.text()
		}
		return err
	})
	if err != nil {
		err = fmt.Errorf("%w: a Kafka record: %w", ErrReply, err)
	}
	return r, err
}

// PlaygroundTypename is the type name of a record for the egress of StateFun's
// playground.
const PlaygroundTypename = "io.statefun.playground/EgressRecord"

// PlaygroundRecord is such a record: it names its topic itself.
type PlaygroundRecord struct {
	Topic   string `json:"topic"`
	Payload string `json:"payload"`
}

// ReadPlaygroundRecord reads one.
func ReadPlaygroundRecord(b []byte) (r PlaygroundRecord, err error) {
	if err = json.Unmarshal(b, &r); err == nil && r.Topic == "" {
		err = errors.New("it has no topic")
	}
	if err != nil {
		err = fmt.Errorf("%w: a playground record: %w", ErrReply, err)
	}
	return r, err
}

// PrimitivePrefix begins the type names of StateFun's own types.
const PrimitivePrefix = "io.statefun.types/"

// Plain takes a value of one of StateFun's own types out of its wrapper; false if
// it is of none, or broken. A wrapper without its field has the zero value.
func Plain(typename string, b []byte) (any, bool) {
	kind, ok := strings.CutPrefix(typename, PrimitivePrefix)
	if !ok {
		return nil, false
	}
	var f field
	err := fields(b, func(n protowire.Number, got field) error {
		if n == 1 {
			f = got
		}
		return nil
	})
	if err != nil {
		return nil, false
	}
	fixed32 := func() uint32 {
		v, n := protowire.ConsumeFixed32(f.b)
		if n < 0 || f.typ != protowire.Fixed32Type {
			return 0
		}
		return v
	}
	fixed64 := func() uint64 {
		v, n := protowire.ConsumeFixed64(f.b)
		if n < 0 || f.typ != protowire.Fixed64Type {
			return 0
		}
		return v
	}
	switch kind {
	case "bool":
		v, _ := f.varint()
		return v != 0, true
	case "int":
		return int32(fixed32()), true
	case "long":
		return int64(fixed64()), true
	case "float":
		return finite(float64(math.Float32frombits(fixed32())))
	case "double":
		return finite(math.Float64frombits(fixed64()))
	case "string":
		v, _ := f.bytes()
		return string(v), true
	}
	return nil, false
}

// finite is a number that JSON has.
func finite(v float64) (any, bool) { return v, !math.IsNaN(v) && !math.IsInf(v, 0) }
