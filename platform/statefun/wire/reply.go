package wire

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrReply is wrapped by every refusal of a reply.
var ErrReply = errors.New("bad reply of a function")

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
	Sends     []Send // messages, then delayed ones
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

// Read reads a reply. An empty one has no effects. Unknown fields are passed over.
func (r *Reply) Read(b []byte) error {
	r.Missing, r.Mutations, r.Sends, r.Egresses, r.typed = r.Missing[:0], r.Mutations[:0], r.Sends[:0], r.Egresses[:0], r.typed[:0]
	r.Incomplete = false
	if len(b) > MaxReplyBytes {
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrReply, len(b), MaxReplyBytes)
	}
	err := fields(b, func(n protowire.Number, f field) error {
		switch n {
		case fromResult:
			// Of a oneof the last one counts.
			r.Incomplete = false
			return f.message(r.result)
		case fromIncomplete:
			r.Incomplete = true
			return f.message(r.incomplete)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrReply, err)
	}
	for i, at := 0, 0; i < len(r.Mutations); i++ {
		if r.Mutations[i].Value != nil {
			r.Mutations[i].Value = &r.typed[at] // the slice has its final place now
			at++
		}
	}
	return nil
}

func (r *Reply) result(n protowire.Number, f field) error {
	switch n {
	case resultMutations:
		if len(r.Mutations) == MaxEffects {
			return fmt.Errorf("more than %d changes of state", MaxEffects)
		}
		return r.mutation(f)
	case resultMessages, resultDelayed:
		if len(r.Sends) == MaxEffects {
			return fmt.Errorf("more than %d messages", MaxEffects)
		}
		s := Send{Delayed: n == resultDelayed}
		if err := f.message(s.read); err != nil {
			return err
		}
		r.Sends = append(r.Sends, s)
	case resultEgresses:
		if len(r.Egresses) == MaxEffects {
			return fmt.Errorf("more than %d messages to egresses", MaxEffects)
		}
		var e Egress
		if err := f.message(e.read); err != nil {
			return err
		}
		r.Egresses = append(r.Egresses, e)
	}
	return nil
}

func (r *Reply) mutation(f field) error {
	m, kind := Mutation{}, uint64(0)
	var value Typed
	err := f.message(func(n protowire.Number, f field) (err error) {
		switch n {
		case mutationType:
			kind, err = f.varint()
		case mutationName:
			m.Name, err = f.bytes()
		case mutationValue:
			err = f.message(value.read)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case kind > modify:
		return fmt.Errorf("a change of state of the unknown kind %d", kind)
	case kind == modify:
		r.typed = append(r.typed, value)
		m.Value = &value // for now: that there is one
	}
	r.Mutations = append(r.Mutations, m)
	return nil
}

func (s *Send) read(n protowire.Number, f field) (err error) {
	if !s.Delayed {
		switch n {
		case sendTarget:
			return f.message(s.Target.read)
		case sendArgument:
			return f.message(s.Argument.read)
		}
		return nil
	}
	var v uint64
	switch n {
	case delayedMs:
		v, err = f.varint()
		s.DelayMs = int64(v)
	case delayedTarget:
		err = f.message(s.Target.read)
	case delayedArgument:
		err = f.message(s.Argument.read)
	case delayedCancel:
		v, err = f.varint()
		s.Cancel = v != 0
	case delayedToken:
		s.Token, err = f.bytes()
	}
	return err
}

func (e *Egress) read(n protowire.Number, f field) (err error) {
	switch n {
	case egressNamespace:
		e.Namespace, err = f.bytes()
	case egressType:
		e.Type, err = f.bytes()
	case egressArgument:
		err = f.message(e.Argument.read)
	}
	return err
}

func (a *Address) read(n protowire.Number, f field) (err error) {
	switch n {
	case addressNamespace:
		a.Namespace, err = f.bytes()
	case addressType:
		a.Type, err = f.bytes()
	case addressID:
		a.ID, err = f.bytes()
	}
	return err
}

func (t *Typed) read(n protowire.Number, f field) (err error) {
	var v uint64
	switch n {
	case typedTypename:
		t.Typename, err = f.bytes()
	case typedHasValue:
		if v, err = f.varint(); v != 0 && t.Value == nil {
			t.Value = []byte{}
		}
	case typedValue:
		// A value counts only with has_value, but SDKs send the two together or neither.
		if b, e := f.bytes(); e != nil {
			err = e
		} else if len(b) > 0 || t.Value != nil {
			t.Value = b
		}
	}
	return err
}

func (r *Reply) incomplete(n protowire.Number, f field) error {
	if n != missingValues {
		return nil
	}
	if len(r.Missing) == MaxSpecs {
		return fmt.Errorf("more than %d states", MaxSpecs)
	}
	var s Spec
	err := f.message(func(n protowire.Number, f field) error {
		b, err := []byte(nil), error(nil)
		switch n {
		case specName:
			b, err = f.bytes()
			s.Name = string(b)
		case specTypename:
			b, err = f.bytes()
			s.Typename = string(b)
		case specExpiration:
			err = f.message(s.expiration)
		}
		return err
	})
	if err == nil && s.Name == "" {
		err = errors.New("a state without a name")
	}
	r.Missing = append(r.Missing, s)
	return err
}

func (s *Spec) expiration(n protowire.Number, f field) error {
	v, err := uint64(0), error(nil)
	switch n {
	case expirationMode:
		if v, err = f.varint(); err == nil && v > uint64(AfterInvoke) {
			err = fmt.Errorf("a state with the unknown expiration %d", v)
		}
		s.Expiration = Expiration(v)
	case expirationMs:
		v, err = f.varint()
		s.AfterMillis = int64(v)
	}
	return err
}

// field is one field's value, still encoded.
type field struct {
	typ protowire.Type
	b   []byte // the content of bytes; the encoding of anything else
}

func (f field) bytes() ([]byte, error) {
	if f.typ != protowire.BytesType {
		return nil, errors.New("a field of another wire type than bytes")
	}
	return f.b, nil
}

func (f field) varint() (uint64, error) {
	v, n := protowire.ConsumeVarint(f.b)
	if f.typ != protowire.VarintType || n < 0 {
		return 0, errors.New("a field of another wire type than varint")
	}
	return v, nil
}

func (f field) message(each func(protowire.Number, field) error) error {
	b, err := f.bytes()
	if err != nil {
		return err
	}
	return fields(b, each)
}

func fields(b []byte, each func(protowire.Number, field) error) error {
	for len(b) > 0 {
		number, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		size := protowire.ConsumeFieldValue(number, typ, b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		f := field{typ, b[:size:size]}
		if typ == protowire.BytesType {
			f.b, _ = protowire.ConsumeBytes(b)
		}
		if err := each(number, f); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}
