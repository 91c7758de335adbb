package csv

import (
	"bytes"
	"encoding/base64"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/format"
	"github.com/weirstream/weir/platform/format/scalar"
)

// Encoder writes rows. Null is written as the null text; a text that equals it is
// put in quotes, and so comes back as text.
type Encoder struct {
	schema    *schema.Schema
	null      string
	delimiter byte
}

// NewEncoder makes an encoder of a schema's rows.
func NewEncoder(s *schema.Schema, o format.Options) (*Encoder, error) {
	delimiter, err := check(s, o)
	if err != nil {
		return nil, err
	}
	return &Encoder{s, o.Null, delimiter}, nil
}

// Append implements format.Encoder.
func (e *Encoder) Append(dst []byte, cols []frame.Column, row int) []byte {
	for i := range cols {
		if i > 0 {
			dst = append(dst, e.delimiter)
		}
		c := &cols[i]
		switch {
		case c.Null(row):
			dst = append(dst, e.null...)
		case c.Type.Kind == schema.Utf8:
			dst = e.text(dst, c.BytesAt(row))
		case c.Type.Kind == schema.Binary:
			if b := c.BytesAt(row); len(b) > 0 {
				dst = base64.StdEncoding.AppendEncode(dst, b)
			} else {
				dst = append(dst, '"', '"')
			}
		default:
			dst = scalar.AppendText(dst, c, row)
		}
	}
	return dst
}

// AppendHeader writes the names of the columns.
func (e *Encoder) AppendHeader(dst []byte) []byte {
	for i := range e.schema.Fields {
		if i > 0 {
			dst = append(dst, e.delimiter)
		}
		dst = e.text(dst, []byte(e.schema.Fields[i].Name))
	}
	return dst
}

func (e *Encoder) text(dst, t []byte) []byte {
	if string(t) != e.null && bytes.IndexByte(t, e.delimiter) < 0 && bytes.IndexByte(t, '"') < 0 &&
		bytes.IndexByte(t, '\n') < 0 && bytes.IndexByte(t, '\r') < 0 {
		return append(dst, t...)
	}
	dst = append(dst, '"')
	for _, c := range t {
		if c == '"' {
			dst = append(dst, '"')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}
