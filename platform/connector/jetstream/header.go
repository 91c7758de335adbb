package jetstream

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
)

// The headers of Weir's messages. Every other header belongs to the user.
const (
	headerFrame   = "Weir-Frame"   // "1": the message is a stored frame
	headerKey     = "Weir-Key"     // the record's key, where it is printable
	headerKeyB64  = "Weir-Key-B64" // the record's key in base64, where it is not
	headerTime    = "Weir-Time"    // the record's own time, microseconds
	headerNull    = "Weir-Null"    // "1": the record's value is null
	headerTxn     = "Weir-Txn"     // checkpoint;chunk;chunks;digest of an exactly-once sink
	headerPad     = "P"            // makes the frame behind the headers begin at a multiple of 8
	headerExpect  = "Nats-Expected-Last-Subject-Sequence"
	frameVersion1 = "1"
)

// setKey puts a record's key into its headers.
func setKey(h nats.Header, key []byte) {
	if headerText(key) {
		h[headerKey] = []string{string(key)}
		return
	}
	h[headerKeyB64] = []string{base64.StdEncoding.EncodeToString(key)}
}

// headerText tells whether bytes survive as a header's value: printable UTF-8
// without blanks at the ends, which NATS trims.
func headerText(b []byte) bool {
	if len(b) > 0 && (b[0] == ' ' || b[len(b)-1] == ' ') {
		return false
	}
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return len(b) > 0 && utf8.Valid(b)
}

// record is a message that is one record.
type record struct {
	key, value []byte
	timeMicros int64
	headers    map[string][]byte // nil without user headers
}

// readRecord takes a message apart. stampMicros is the time the server stored it.
func readRecord(m *nats.Msg, stampMicros int64) (record, error) {
	r := record{value: m.Data, timeMicros: stampMicros}
	if len(m.Header) == 0 {
		r.key, _ = subjectKey(m.Subject)
		return r, nil
	}
	found := false
	for name, values := range m.Header {
		value := ""
		if len(values) > 0 {
			value = values[0]
		}
		switch name {
		case headerKey:
			r.key, found = []byte(value), true
		case headerKeyB64:
			key, err := base64.StdEncoding.DecodeString(value)
			if err != nil {
				return r, fmt.Errorf("header %s: %w", headerKeyB64, err)
			}
			r.key, found = key, true
		case headerTime:
			micros, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return r, fmt.Errorf("header %s: %q is not a time in microseconds", headerTime, value)
			}
			r.timeMicros = micros
		case headerNull:
			r.value = nil
		default:
			if reserved(name) {
				continue
			}
			if r.headers == nil {
				r.headers = make(map[string][]byte)
			}
			r.headers[name] = []byte(value)
		}
	}
	if !found {
		r.key, _ = subjectKey(m.Subject)
	}
	return r, nil
}

// reserved tells whether a header is NATS's or Weir's own.
func reserved(name string) bool {
	return strings.HasPrefix(name, "Nats-") || strings.HasPrefix(name, "Weir-") || name == headerPad
}

// setRecord fills the headers of a message that is one record.
func setRecord(h nats.Header, r record, withTime bool) error {
	if r.key != nil {
		setKey(h, r.key)
	}
	if r.value == nil {
		h[headerNull] = []string{"1"}
	}
	if withTime {
		h[headerTime] = []string{strconv.FormatInt(r.timeMicros, 10)}
	}
	for name, value := range r.headers {
		if reserved(name) {
			return fmt.Errorf("header %s: names that begin with Nats- or Weir- are reserved: rename it", name)
		}
		if strings.ContainsAny(name, ": \r\n") || bytes.ContainsAny(value, "\r\n") || name == "" {
			return fmt.Errorf("header %q: a header has no line breaks, and its name no blanks or colons", name)
		}
		h[name] = []string{string(value)}
	}
	return nil
}

// pad adds a header so that the message's data begins at a multiple of 8 of
// what the receiver allocates: its frame is then read where it stands.
func pad(h nats.Header) {
	size := len("NATS/1.0\r\n") + len("\r\n")
	for name, values := range h {
		for _, v := range values {
			size += len(name) + len(v) + len(": \r\n")
		}
	}
	size += len(headerPad) + len(": \r\n")
	h[headerPad] = []string{"-------"[:(8-size%8)%8]}
}
