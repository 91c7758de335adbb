package functions

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Way says how the answer to a call reaches its caller. It is the first letter of
// the call's id, so that whoever sees an answer knows.
type Way byte

// The ways. Their order matters: ids below StoredBelow are those whose answers are stored.
const (
	// Committed answers are stored in the topic of replies, with their checkpoint.
	Committed Way = 'c'
	// Keyed calls have an idempotency key: their answers come at once and are stored
	// too, because the caller may come back for one that was lost.
	Keyed Way = 'k'
	// AtOnce answers come as soon as the function has given them, and are not stored.
	AtOnce Way = 'n'
)

// StoredBelow is above the ids of all calls whose answers are stored.
const StoredBelow = "n"

// CallID names a call: it is the id of the address that the answer goes to, whose
// type is CallType. As text it is <way>/<gateway>/<call>.
type CallID struct {
	Way     Way
	Gateway string // where the caller waits
	Call    string
}

// ErrCallID says that an id names no call.
var ErrCallID = errors.New("not the id of a call")

const maxCallIDPart = 64

func (c CallID) String() string { return string(rune(c.Way)) + "/" + c.Gateway + "/" + c.Call }

// Instant tells whether the answer comes at once.
func (c CallID) Instant() bool { return c.Way == AtOnce || c.Way == Keyed }

// ParseCallID reads an id. Functions can send to any id, so it trusts none: both
// parts are lower-case hexadecimal digits.
func ParseCallID(id string) (CallID, error) {
	way, rest, _ := strings.Cut(id, "/")
	gateway, call, found := strings.Cut(rest, "/")
	if !found || len(way) != 1 || !hexadecimal(gateway) || !hexadecimal(call) {
		return CallID{}, fmt.Errorf("%w: %.80q", ErrCallID, id)
	}
	c := CallID{Way: Way(way[0]), Gateway: gateway, Call: call}
	if c.Way != Committed && c.Way != Keyed && c.Way != AtOnce {
		return CallID{}, fmt.Errorf("%w: %.80q", ErrCallID, id)
	}
	return c, nil
}

func hexadecimal(s string) bool {
	for i := range len(s) {
		if c := s[i]; !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return s != "" && len(s) <= maxCallIDPart
}

// ReplySubject is where a gateway listens for answers that come at once.
func ReplySubject(gateway string) string { return "weir.reply." + gateway }

// Reply is an answer to a call. Value nil: it has a type name alone.
type Reply struct {
	Call     string // the call's id, whole
	From     Address
	Typename string
	Value    []byte
	// TooLarge says that the value does not fit into a message: only its size is known.
	TooLarge int
}

// The stored form of a Reply:
//
//	version u8 = 1 | kind u8 | call, type, id, typename: uvarint length and bytes | kind 1: the value | kind 2: its size, uvarint
const (
	replyVersion  = 1
	replyEmpty    = 0
	replyValue    = 1
	replyTooLarge = 2
)

// Append writes the reply behind dst.
func (r *Reply) Append(dst []byte) []byte {
	kind := byte(replyEmpty)
	switch {
	case r.TooLarge > 0:
		kind = replyTooLarge
	case r.Value != nil:
		kind = replyValue
	}
	dst = append(dst, replyVersion, kind)
	for _, text := range []string{r.Call, r.From.Type, r.From.ID, r.Typename} {
		dst = binary.AppendUvarint(dst, uint64(len(text)))
		dst = append(dst, text...)
	}
	if kind == replyTooLarge {
		return binary.AppendUvarint(dst, uint64(r.TooLarge))
	}
	return append(dst, r.Value...)
}

// errReply says that bytes are no reply.
var errReply = errors.New("not a reply to a call")

// ParseReply reads what Append wrote. The value shares b's memory.
func ParseReply(b []byte) (Reply, error) {
	var r Reply
	if len(b) < 2 || b[0] != replyVersion || b[1] > replyTooLarge {
		return r, errReply
	}
	kind := b[1]
	b = b[2:]
	for _, into := range []*string{&r.Call, &r.From.Type, &r.From.ID, &r.Typename} {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return Reply{}, errReply
		}
		*into, b = string(b[size:size+int(n)]), b[size+int(n):]
	}
	switch kind {
	case replyValue:
		r.Value = b
	case replyTooLarge:
		n, size := binary.Uvarint(b)
		if size != len(b) || n == 0 || n > 1<<40 {
			return Reply{}, errReply
		}
		r.TooLarge = int(n)
	default:
		if len(b) > 0 {
			return Reply{}, errReply
		}
	}
	return r, nil
}
