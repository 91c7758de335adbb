package remote

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/statefun/wire"
)

// ErrDamaged says that what an address keeps cannot be read.
var ErrDamaged = errors.New("state of a remote function is damaged")

// status is what an address keeps besides mail and values:
//
//	0  u64  number of the next message
//	8  u64  requests whose effects were applied
//	16 i64  when the last one was (microseconds)
//	24 i64  when the timer of expiry is due; 0: there is none
type status []byte

const statusBytes = 32

func (s status) next() uint64          { return binary.LittleEndian.Uint64(s) }
func (s status) setNext(v uint64)      { binary.LittleEndian.PutUint64(s, v) }
func (s status) calls() uint64         { return binary.LittleEndian.Uint64(s[8:]) }
func (s status) setCalls(v uint64)     { binary.LittleEndian.PutUint64(s[8:], v) }
func (s status) called() int64         { return int64(binary.LittleEndian.Uint64(s[16:])) }
func (s status) setCalled(v int64)     { binary.LittleEndian.PutUint64(s[16:], uint64(v)) }
func (s status) expiry() int64         { return int64(binary.LittleEndian.Uint64(s[24:])) }
func (s status) setExpiry(v int64)     { binary.LittleEndian.PutUint64(s[24:], uint64(v)) }
func number(sub []byte) uint64         { return binary.BigEndian.Uint64(sub) }
func numberBytes(n uint64) (b [8]byte) { binary.BigEndian.PutUint64(b[:], n); return b }

// mail is a message as it stands in state: caller type, caller id, type name, then
// the value. Each begins with 0 if it is absent, or 1 + its length.
type mail struct{ callerType, callerID, typename, value []byte }

func appendMail(dst []byte, b *batch.Batch, row int) []byte {
	for _, col := range [...]int{functions.MessageCallerType, functions.MessageCallerID, functions.MessageTypename, functions.MessageValue} {
		c := &b.Columns[col]
		if c.Null(row) {
			dst = append(dst, 0)
			continue
		}
		v := c.BytesAt(row)
		dst = binary.AppendUvarint(dst, uint64(len(v))+1)
		dst = append(dst, v...)
	}
	return dst
}

func (m *mail) read(b []byte) error {
	for _, f := range [...]*[]byte{&m.callerType, &m.callerID, &m.typename, &m.value} {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used)+1 {
			return ErrDamaged
		}
		if n == 0 {
			*f, b = nil, b[used:]
			continue
		}
		*f, b = b[used:used+int(n)-1:used+int(n)-1], b[used+int(n)-1:]
	}
	return nil
}

// A value is when it was written (8 bytes, microseconds), its type name with its
// length before it, and its bytes.
func appendValue(dst []byte, now int64, v *wire.Typed) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(now))
	dst = binary.AppendUvarint(dst, uint64(len(v.Typename)))
	dst = append(dst, v.Typename...)
	if v.Value == nil {
		return append(dst, 0)
	}
	return append(append(dst, 1), v.Value...)
}

func readValue(b []byte) (written int64, v wire.Typed, err error) {
	if len(b) < 9 {
		return 0, v, ErrDamaged
	}
	written, b = int64(binary.LittleEndian.Uint64(b)), b[8:]
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return 0, v, ErrDamaged
	}
	v.Typename, b = b[used:used+int(n):used+int(n)], b[used+int(n):]
	if len(b) == 0 {
		return 0, v, ErrDamaged
	}
	if b[0] == 1 {
		v.Value = b[1:]
	}
	return written, v, nil
}

// wireAddress parts a type into the protocol's two names.
func wireAddress(typ, id string) wire.Address {
	namespace, name, _ := strings.Cut(typ, "/")
	return wire.Address{Namespace: []byte(namespace), Type: []byte(name), ID: []byte(id)}
}
