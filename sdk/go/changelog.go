package weir

import (
	"github.com/weirstream/weir/sdk/go/internal/abi"
	"github.com/weirstream/weir/sdk/go/internal/guest"
)

// RowKind is what a row of a changelog does.
type RowKind uint8

// The kinds. An update is two rows, in this order: what it replaces, and by what.
const (
	Insert       RowKind = abi.RowInsert
	UpdateBefore RowKind = abi.RowUpdateBefore
	UpdateAfter  RowKind = abi.RowUpdateAfter
	Delete       RowKind = abi.RowDelete
)

// String is the usual short form: +I, -U, +U, -D.
func (k RowKind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown kind"
}

var kindNames = [...]string{"+I", "-U", "+U", "-D"}

// Retracts says that the row takes an earlier one back.
func (k RowKind) Retracts() bool { return k == UpdateBefore || k == Delete }

const changelog = "changelog"

// Changelog lets a function read rows that take back earlier ones, by Context.Kind, and write such, by Output.EmitKind. Without it the planner gives the function plain rows only.
func Changelog() FunctionOption {
	return functionOption(func(f *guest.Function) { f.Require(changelog) })
}

// Kind is what the row being handled does; Insert in a firing, and in a function without the option Changelog.
func (ctx *Context) Kind() RowKind { return RowKind(ctx.call.Kind()) }
