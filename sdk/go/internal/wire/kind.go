// Package wire reads and writes the bytes between host and guest: containers, column blocks, varints and canonical keys.
// It must not know Go types, functions or handlers.
package wire

// Kind is the type of one node of a column block.
type Kind uint8

// The kinds, in the order of the contract's type list.
const (
	Bool Kind = iota + 1
	Int8
	Int16
	Int32
	Int64
	Float32
	Float64
	Decimal
	Utf8
	Binary
	Date32
	Timestamp
	List
	Struct
	Map
)

var widths = [...]int{Int8: 1, Int16: 2, Int32: 4, Int64: 8, Float32: 4, Float64: 8, Decimal: 16, Date32: 4, Timestamp: 8, Map: 0}

// Width is the bytes of one value; 0 for kinds without a fixed width.
func (k Kind) Width() int {
	if int(k) >= len(widths) {
		return 0
	}
	return widths[k]
}

// HasOffsets says whether the values buffer of the kind holds int32 offsets.
func (k Kind) HasOffsets() bool { return k == Utf8 || k == Binary || k == List || k == Map }

// HasBytes says whether the kind has a bytes buffer.
func (k Kind) HasBytes() bool { return k == Utf8 || k == Binary }
