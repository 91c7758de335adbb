package wire

import (
	"errors"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

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

func (f field) text() ([]byte, error) {
	b, err := f.bytes()
	if err == nil && !utf8.Valid(b) {
		return nil, errors.New("a text that is not UTF-8")
	}
	return b, err
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
		if number > protowire.MaxValidNumber {
			return errors.New("a field of a number that there is not")
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
