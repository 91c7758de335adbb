package wire

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrReply is wrapped by every refusal of a reply.
var ErrReply = errors.New("bad reply of a function")

// ErrText says that a reply is a page or another text: something else answers at
// the endpoint's URL.
var ErrText = errors.New("it is a text, not a message of StateFun's protocol; does the URL lead to the server of functions")

// maxShownBytes is where a text in the place of a reply is cut.
const maxShownBytes = 120

// Expiration says when a state ends.
type Expiration uint8

// The modes, with their numbers.
const (
	NeverExpires Expiration = iota
	AfterWrite
	AfterInvoke
)

// Spec is a state that a function declares.
type Spec struct {
	Name        string
	Expiration  Expiration
	AfterMillis int64
	Typename    string
}

// Mutation changes a state: Value nil deletes it.
type Mutation struct {
	Name  []byte
	Value *Typed
}

// Send is a message to an address, now or, if Delayed, later.
type Send struct {
	Target   Address
	Argument Typed
	Delayed  bool
	DelayMs  int64
	Cancel   bool
	Token    []byte
}

// Egress is a message to the outside.
type Egress struct {
	Namespace, Type []byte
	Argument        Typed
}

// Reply is what a function wants done, as views on the bytes it came in. It keeps
// its memory.
type Reply struct {
	// Missing, if there are any, are states that the request lacked: the function
	// has not run, and there is nothing else.
	Missing   []Spec
	Mutations []Mutation
	Sends     []Send // messages, then delayed ones and cancellations
	Egresses  []Egress
	// Incomplete says that the function has not run.
	Incomplete bool

	typed []Typed // of mutations
}

// The numbers of fields of replies.
const (
	fromResult     = 100
	fromIncomplete = 101

	resultMutations = 1
	resultMessages  = 2
	resultDelayed   = 3
	resultEgresses  = 4

	mutationType  = 1
	mutationName  = 2
	mutationValue = 3

	modify = 1

	sendTarget   = 1
	sendArgument = 2

	delayedMs       = 1
	delayedTarget   = 2
	delayedArgument = 3
	delayedCancel   = 10
	delayedToken    = 11

	egressNamespace = 1
	egressType      = 2
	egressArgument  = 3

	missingValues  = 1
	specName       = 1
	specExpiration = 2
	specTypename   = 3
	expirationMode = 1
	expirationMs   = 2
)

// Read reads a reply. An empty one has no effects. Unknown fields are passed over,
// but a reply of nothing else is refused: to take it for one without effects would
// lose the messages that it was asked for.
func (r *Reply) Read(b []byte) error {
	r.clear()
	if len(b) > MaxReplyBytes {
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrReply, len(b), MaxReplyBytes)
	}
	known := false
	err := fields(b, func(n protowire.Number, f field) error {
		switch n {
		case fromResult, fromIncomplete:
			if incomplete := n == fromIncomplete; known && incomplete != r.Incomplete {
				r.clear() // of a oneof the last one counts
			}
			known, r.Incomplete = true, n == fromIncomplete
			if r.Incomplete {
				return f.message(r.incomplete)
			}
			return f.message(r.result)
		}
		return nil
	})
	if err == nil && !known && len(b) > 0 {
		err = errors.New("it has neither a result nor states that it lacks")
	}
	if err != nil {
		if text := shown(b); text != "" {
			err = fmt.Errorf("%w: %q", ErrText, text)
		}
		return fmt.Errorf("%w: %w", ErrReply, err)
	}
	for i, at := 0, 0; i < len(r.Mutations); i++ {
		if r.Mutations[i].Value != nil {
			r.Mutations[i].Value = &r.typed[at] // the slice has its final place now
			at++
		}
	}
	// Every SDK writes the delayed ones last, which protobuf does not promise.
	if delayedLast := func(a, b Send) int { return order(a) - order(b) }; !slices.IsSortedFunc(r.Sends, delayedLast) {
		slices.SortStableFunc(r.Sends, delayedLast)
	}
	return nil
}

func (r *Reply) clear() {
	r.Missing, r.Mutations, r.Sends, r.Egresses, r.typed = r.Missing[:0], r.Mutations[:0], r.Sends[:0], r.Egresses[:0], r.typed[:0]
	r.Incomplete = false
}

func order(s Send) int {
	if s.Delayed {
		return 1
	}
	return 0
}

// shown is the beginning of what is a text, on one line. A reply never is one: its
// first byte is no character's.
func shown(b []byte) string {
	cut := b[:min(len(b), maxShownBytes)]
	for i := 1; i < utf8.UTFMax && len(cut) < len(b) && !utf8.Valid(cut); i++ {
		cut = cut[:len(cut)-1] // a character that the cut went through
	}
	text := strings.Join(strings.Fields(string(cut)), " ")
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return text
}

// present stands for a value until the slice of values has its final place.
var present Typed
