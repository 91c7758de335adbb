package wire

import (
	"fmt"

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
			r.Key, err = f.bytes()
		case 2:
			r.Value, err = f.bytes()
		case 3:
			r.Topic, err = f.bytes()
		}
		return err
	})
	if err != nil {
		err = fmt.Errorf("%w: a Kafka record: %w", ErrReply, err)
	}
	return r, err
}
