package jetstream

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/nats-io/nats.go"
	"github.com/weirstream/weir/platform/connector"
)

// A chunk is one message of a transaction:
//
//	0  u8   kind: 1 a stored frame, 2 a record
//	1  u8   0
//	2  u16  partition
//	4  u32  0
//	8  ...  the frame; or the record:
//	        u8 flags (1 key, 2 value, 4 time), i64 time,
//	        uvarint number of headers, each uvarint length, name, uvarint length, value;
//	        uvarint length and key if there is one; value to the end
const (
	chunkHeader = 8
	chunkFrame  = 1
	chunkRecord = 2
)

const (
	flagKey = 1 << iota
	flagValue
	flagTime
)

var errChunk = errors.New("damaged chunk of a transaction")

func appendChunkHeader(dst []byte, kind byte, partition int) []byte {
	return append(dst, kind, 0, byte(partition), byte(partition>>8), 0, 0, 0, 0)
}

func chunkPartition(c []byte) (int, error) {
	if len(c) < chunkHeader || c[0] != chunkFrame && c[0] != chunkRecord {
		return 0, errChunk
	}
	return int(binary.LittleEndian.Uint16(c[2:])), nil
}

func appendRecordChunk(dst []byte, partition int, r record) []byte {
	dst = appendChunkHeader(dst, chunkRecord, partition)
	flags := byte(flagTime)
	if r.key != nil {
		flags |= flagKey
	}
	if r.value != nil {
		flags |= flagValue
	}
	dst = append(dst, flags)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.timeMicros))
	dst = binary.AppendUvarint(dst, uint64(len(r.headers)))
	for name, value := range r.headers {
		dst = append(binary.AppendUvarint(dst, uint64(len(name))), name...)
		dst = append(binary.AppendUvarint(dst, uint64(len(value))), value...)
	}
	if r.key != nil {
		dst = append(binary.AppendUvarint(dst, uint64(len(r.key))), r.key...)
	}
	return append(dst, r.value...)
}

// message takes a chunk apart into what is published.
func chunkMessage(c []byte) (nats.Header, []byte, error) {
	if _, err := chunkPartition(c); err != nil {
		return nil, nil, err
	}
	h := nats.Header{}
	if c[0] == chunkFrame {
		h[headerFrame] = []string{frameVersion1}
		return h, c[chunkHeader:], nil
	}
	r, err := readRecordChunk(c[chunkHeader:])
	if err != nil {
		return nil, nil, err
	}
	if err := setRecord(h, r, true); err != nil {
		return nil, nil, err
	}
	return h, r.value, nil
}

func readRecordChunk(b []byte) (record, error) {
	var r record
	if len(b) < 9 {
		return r, errChunk
	}
	flags := b[0]
	r.timeMicros = int64(binary.LittleEndian.Uint64(b[1:]))
	b = b[9:]
	bytesOf := func() ([]byte, bool) {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) {
			return nil, false
		}
		v := b[used : used+int(n) : used+int(n)]
		b = b[used+int(n):]
		return v, true
	}
	headers, used := binary.Uvarint(b)
	if used <= 0 || headers > uint64(len(b)) {
		return r, errChunk
	}
	b = b[used:]
	for range headers {
		name, ok := bytesOf()
		value, ok2 := bytesOf()
		if !ok || !ok2 {
			return r, errChunk
		}
		if r.headers == nil {
			r.headers = make(map[string][]byte)
		}
		r.headers[string(name)] = value
	}
	if flags&flagKey != 0 {
		key, ok := bytesOf()
		if !ok {
			return r, errChunk
		}
		r.key = key
	}
	if flags&flagValue != 0 {
		r.value = b
	}
	return r, nil
}

// txnMark is the value of the header Weir-Txn: which chunk of which transaction
// a message is.
type txnMark struct {
	checkpoint uint64
	chunk, of  int // of the partition; from 1
	digest     uint64
}

func (m txnMark) String() string {
	return fmt.Sprintf("%d;%d/%d;%016x", m.checkpoint, m.chunk, m.of, m.digest)
}

func parseTxnMark(text string) (txnMark, error) {
	bad := fmt.Errorf("header %s: %.60q is not checkpoint;chunk/chunks;digest", headerTxn, text)
	parts := strings.Split(text, ";")
	if len(parts) != 3 {
		return txnMark{}, bad
	}
	chunk, of, ok := strings.Cut(parts[1], "/")
	var m txnMark
	var err [4]error
	m.checkpoint, err[0] = strconv.ParseUint(parts[0], 10, 64)
	m.chunk, err[1] = strconv.Atoi(chunk)
	m.of, err[2] = strconv.Atoi(of)
	m.digest, err[3] = strconv.ParseUint(parts[2], 16, 64)
	if !ok || errors.Join(err[:]...) != nil || m.chunk < 1 || m.of < m.chunk {
		return txnMark{}, bad
	}
	return m, nil
}

func chunkDigest(c []byte) uint64 { return xxhash.Sum64(c) }

// txnMeta is what Prepare notes beside the chunks.
type txnMeta struct {
	Stream      string `json:"stream"`
	Incarnation uint64 `json:"incarnation"`
	Last        uint64 `json:"last"` // the stream's last sequence before any chunk was published
}

func parseTxnMeta(data []byte) (txnMeta, error) {
	var m txnMeta
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("transaction's note: %w", err)
	}
	return m, nil
}

// writerToken makes a writer's name fit for a subject: every byte but letters,
// digits, _ and - becomes =XX.
func writerToken(w connector.WriterID) string {
	var b strings.Builder
	for i, part := range []string{w.Pipeline, w.Sink, strconv.Itoa(w.Task)} {
		if i > 0 {
			b.WriteByte('.')
		}
		for _, c := range []byte(part) {
			if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' {
				b.WriteByte(c)
				continue
			}
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}
