package weir

import (
	"encoding/json"
)

// Type is how values of a Go type travel in messages: their type name, and how they are written and read.
type Type[T any] struct {
	name      string
	marshal   func(dst []byte, value *T) ([]byte, error)
	unmarshal func(src []byte, value *T) error
}

// Name is the type name, by which a receiver tells messages apart.
func (t *Type[T]) Name() string { return t.name }

// Append appends a value as it travels, for tests.
func (t *Type[T]) Append(dst []byte, value *T) ([]byte, error) { return t.marshal(dst, value) }

// Read reads a value, for tests. It may view src.
func (t *Type[T]) Read(src []byte, value *T) error { return t.unmarshal(src, value) }

// NewType makes a type of any encoding. marshal appends to dst. What unmarshal gives may view src, which is valid until the handler returns.
func NewType[T any](name string, marshal func(dst []byte, value *T) ([]byte, error), unmarshal func(src []byte, value *T) error) *Type[T] {
	return &Type[T]{name, marshal, unmarshal}
}

// AsJSON is a type of values written as JSON. Its name is io.weir/json, as that of JSON records from topics and from the command line, unless another is given.
func AsJSON[T any](name ...string) *Type[T] {
	n := "io.weir/json"
	if len(name) > 0 {
		n = name[0]
	}
	return NewType(n,
		func(dst []byte, value *T) ([]byte, error) {
			b, err := json.Marshal(value)
			return append(dst, b...), err
		},
		func(src []byte, value *T) error { return json.Unmarshal(src, value) })
}

// AsText is the type of plain texts, AsBytes that of bytes as they are.
var (
	AsText  = AsNamedText("io.weir/text")
	AsBytes = AsNamedBytes("io.weir/bytes")
)

// AsNamedText is a type of texts with a name of its own.
func AsNamedText(name string) *Type[string] {
	return NewType(name,
		func(dst []byte, value *string) ([]byte, error) { return append(dst, *value...), nil },
		func(src []byte, value *string) error { *value = string(src); return nil })
}

// AsNamedBytes is a type of bytes with a name of its own. A value that is read is valid until the handler returns.
func AsNamedBytes(name string) *Type[[]byte] {
	return NewType(name,
		func(dst []byte, value *[]byte) ([]byte, error) { return append(dst, *value...), nil },
		func(src []byte, value *[]byte) error { *value = src; return nil })
}
