package frame

import (
	"slices"

	"github.com/weirstream/weir/abi/schema"
)

// AppendFrom appends value i of col, which has the builder's type up to nullability, nested values included.
func (c *ColumnBuilder) AppendFrom(col *Column, i int) {
	if col.Null(i) {
		c.AppendNull()
		return
	}
	switch kind := col.Type.Kind; {
	case kind.VarLen():
		c.AppendBytes(col.BytesAt(i))
	case kind == schema.Bool:
		c.AppendBool(col.Bool(i))
	case kind == schema.Struct:
		c.AppendStruct()
		for j := range col.Children {
			c.children[j].AppendFrom(&col.Children[j], i)
		}
	case kind == schema.List || kind == schema.Map:
		c.AppendList()
		from, to := col.Span(i)
		for j := from; j < to; j++ {
			c.children[0].AppendFrom(&col.Children[0], j)
		}
	default:
		w := kind.Width()
		c.values = append(c.values, col.Values[i*w:(i+1)*w]...)
		c.present()
	}
}

// AppendRows appends the values that rows lists, as AppendFrom would one by one.
func (c *ColumnBuilder) AppendRows(col *Column, rows []int32) {
	kind := col.Type.Kind
	width := kind.Width()
	if len(rows) == 0 || width == 0 || col.Validity != nil || c.validity != nil {
		for _, r := range rows {
			c.AppendFrom(col, int(r))
		}
		return
	}
	from := len(c.values)
	c.values = slices.Grow(c.values, len(rows)*width)[:from+len(rows)*width]
	gatherFixed(c.values[from:], col, rows, len(rows))
	c.length += len(rows)
}

// AppendRow appends row i of cols, which are columns of the builder's schema.
func (b *Builder) AppendRow(cols []Column, i int) {
	for j := range b.cols {
		b.cols[j].AppendFrom(&cols[j], i)
	}
}
