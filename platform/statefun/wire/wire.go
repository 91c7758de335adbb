// Package wire is the protocol that StateFun's SDKs speak, version 3: a request
// with a batch of messages for one address and its states, and a reply with what
// the function wants done. The messages are protobuf's (package
// io.statefun.sdk.reqreply):
//
//	ToFunction            invocation 100
//	  batch request       target 1, state 2*, invocations 3*
//	FromFunction          invocation_result 100 | incomplete_invocation_context 101
//	  invocation response state_mutations 1*, outgoing_messages 2*, delayed_invocations 3*, outgoing_egresses 4*
//	  incomplete context  missing_values 1*
//
// Requests are written and replies read without structs between: a request is
// many small parts, and a reply comes from outside, so every length is checked.
// The package must not know HTTP, nor how messages are kept.
package wire

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// Limits of a reply; one past a limit is refused whole.
const (
	MaxReplyBytes = 16 << 20
	MaxEffects    = 1 << 16 // of each kind
	MaxSpecs      = 1024
)

// The numbers of fields.
const (
	toInvocation = 100

	batchTarget      = 1
	batchState       = 2
	batchInvocations = 3

	addressNamespace = 1
	addressType      = 2
	addressID        = 3

	persistedName  = 1
	persistedValue = 2

	typedTypename = 1
	typedHasValue = 2
	typedValue    = 3

	invocationCaller   = 1
	invocationArgument = 2
)

// Address is a function's, as the protocol has it.
type Address struct{ Namespace, Type, ID []byte }

// Typed is a value with its type name. Value nil is absent, and so is has_value.
type Typed struct{ Typename, Value []byte }

// Request is a batch for one address, written part by part. The zero value is
// ready after Begin; it keeps its memory.
type Request struct {
	body    []byte
	scratch []byte
	out     []byte
}

// Begin starts a request to an address.
func (r *Request) Begin(target Address) {
	r.scratch = appendAddress(r.scratch[:0], target)
	r.body = appendMessage(r.body[:0], batchTarget, r.scratch)
}

// State adds a registered state; without a value it is known and empty.
func (r *Request) State(name string, value *Typed) {
	r.scratch = protowire.AppendTag(r.scratch[:0], persistedName, protowire.BytesType)
	r.scratch = protowire.AppendString(r.scratch, name)
	if value != nil {
		r.scratch = appendTyped(r.scratch, persistedValue, value)
	}
	r.body = appendMessage(r.body, batchState, r.scratch)
}

// Invocation adds a message. caller is nil for one from an ingress.
func (r *Request) Invocation(caller *Address, argument Typed) {
	r.scratch = r.scratch[:0]
	if caller != nil {
		r.scratch = protowire.AppendTag(r.scratch, invocationCaller, protowire.BytesType)
		r.scratch = protowire.AppendVarint(r.scratch, uint64(sizeAddress(*caller)))
		r.scratch = appendAddress(r.scratch, *caller)
	}
	r.scratch = appendTyped(r.scratch, invocationArgument, &argument)
	r.body = appendMessage(r.body, batchInvocations, r.scratch)
}

// Bytes gives the request. It is valid until Begin.
func (r *Request) Bytes() []byte {
	r.out = appendMessage(r.out[:0], toInvocation, r.body)
	return r.out
}

// Size is about how many bytes the request has so far.
func (r *Request) Size() int { return len(r.body) }

func appendMessage(dst []byte, number protowire.Number, body []byte) []byte {
	dst = protowire.AppendTag(dst, number, protowire.BytesType)
	return protowire.AppendBytes(dst, body)
}

func appendField(dst []byte, number protowire.Number, b []byte) []byte {
	if len(b) == 0 {
		return dst // as proto3 does
	}
	return appendMessage(dst, number, b)
}

func appendAddress(dst []byte, a Address) []byte {
	dst = appendField(dst, addressNamespace, a.Namespace)
	dst = appendField(dst, addressType, a.Type)
	return appendField(dst, addressID, a.ID)
}

func sizeField(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	return 1 + protowire.SizeBytes(len(b))
}

func sizeAddress(a Address) int { return sizeField(a.Namespace) + sizeField(a.Type) + sizeField(a.ID) }

func appendTyped(dst []byte, number protowire.Number, v *Typed) []byte {
	size := sizeField(v.Typename) + sizeField(v.Value)
	if v.Value != nil {
		size += 2
	}
	dst = protowire.AppendTag(dst, number, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(size))
	dst = appendField(dst, typedTypename, v.Typename)
	if v.Value != nil {
		dst = protowire.AppendTag(dst, typedHasValue, protowire.VarintType)
		dst = protowire.AppendVarint(dst, 1)
	}
	return appendField(dst, typedValue, v.Value)
}
