package outbox

import (
	"fmt"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/functions"
)

// TypenameHeader names the type of a record's value that a function gives to the
// outside, unless it is plain JSON or bytes.
const TypenameHeader = "Weir-Typename"

// egresses makes records of what functions give to the outside.
func (o *Operator) egresses(b *batch.Batch) error {
	names, typenames := &b.Columns[functions.EgressName], &b.Columns[functions.EgressTypename]
	now := o.ctx.Clock()
	for i := range b.Len() {
		row := b.Row(i)
		output, ok := o.egress[string(names.BytesAt(row))]
		if !ok {
			if err := o.refuse(b, row, fmt.Errorf("the application has no egress %q", names.StringAt(row))); err != nil {
				return err
			}
			continue
		}
		r := o.rows[output]
		for c, from := range [...]int{functions.EgressKey, functions.EgressValue} {
			if col := &b.Columns[from]; col.Null(row) {
				r.Column(c).AppendNull()
			} else {
				r.Column(c).AppendBytes(col.BytesAt(row))
			}
		}
		r.Column(2).AppendInt64(now)
		switch typename := typenames.BytesAt(row); string(typename) {
		case functions.JSONTypename, functions.BytesTypename, "":
			r.Column(3).AppendNull()
		default:
			headers := r.Column(3)
			headers.AppendMap()
			headers.AppendEntry()
			headers.MapKey().AppendString(TypenameHeader)
			headers.MapValue().AppendBytes(typename)
		}
		r.EndRow(now)
	}
	for output, r := range o.rows {
		if r != nil && r.Len() > 0 {
			if err := o.ctx.Output.Emit(output, r.Finish("", 0)); err != nil {
				return err
			}
		}
	}
	return nil
}
