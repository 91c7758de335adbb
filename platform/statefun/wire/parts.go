package wire

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

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
			m.Name, err = f.text()
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
		m.Value = &present
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
		s.Token, err = f.text()
	}
	return err
}

func (e *Egress) read(n protowire.Number, f field) (err error) {
	switch n {
	case egressNamespace:
		e.Namespace, err = f.text()
	case egressType:
		e.Type, err = f.text()
	case egressArgument:
		err = f.message(e.Argument.read)
	}
	return err
}

func (a *Address) read(n protowire.Number, f field) (err error) {
	switch n {
	case addressNamespace:
		a.Namespace, err = f.text()
	case addressType:
		a.Type, err = f.text()
	case addressID:
		a.ID, err = f.text()
	}
	return err
}

func (t *Typed) read(n protowire.Number, f field) (err error) {
	var v uint64
	switch n {
	case typedTypename:
		t.Typename, err = f.text()
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
			b, err = f.text()
			s.Name = string(b)
		case specTypename:
			b, err = f.text()
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
