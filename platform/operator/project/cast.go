package project

import (
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
)

// cast gives a column in a wider type. Where the bytes stay the same it is a
// view; else the values go into a buffer that the batch keeps.
func cast(to *schema.Type, c *frame.Column, b *batch.Batch) frame.Column {
	out := *c
	out.Type = to
	if c.Type.Kind == to.Kind {
		return out
	}
	buf := batch.NewBuffer(c.Length * to.Kind.Width())
	out.Values = buf.Bytes
	b.Keep(buf)
	switch to.Kind {
	case schema.Int64:
		widen(out.Int64s(), c)
	case schema.Int32:
		widen(out.Int32s(), c)
	case schema.Int16:
		widen(out.Int16s(), c)
	case schema.Float64:
		convert(out.Float64s(), c.Float32s())
	}
	return out
}

func widen[T int16 | int32 | int64](dst []T, c *frame.Column) {
	switch c.Type.Kind {
	case schema.Int8:
		convert(dst, c.Int8s())
	case schema.Int16:
		convert(dst, c.Int16s())
	case schema.Int32:
		convert(dst, c.Int32s())
	}
}

func convert[T, S int8 | int16 | int32 | int64 | float32 | float64](dst []T, src []S) {
	for i, v := range src {
		dst[i] = T(v)
	}
}
