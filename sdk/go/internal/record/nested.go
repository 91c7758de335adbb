package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/weirstream/weir/sdk/go/internal/abi"
	"github.com/weirstream/weir/sdk/go/internal/wire"
)

// nested is a Go type as a list, struct or map column, or as a part of one. Values go by reflection, and lists and maps are made anew for each row: a column
// of them costs what it would cost to build them by hand, not what a flat one costs.
type nested struct {
	base
	text  string
	typ   reflect.Type // of the Go field, pointer or weir.Null included
	null  nullMode
	scale int
	names []string  // struct: of the fields
	index []int     // struct: of the fields in the Go type
	parts []*nested // struct: its fields; list: its element; map: key and value
	nodes int       // of the column block, this one included
}

// nestedOf plans a Go type that is no flat column.
func nestedOf(t reflect.Type, o options, level int) (*nested, error) {
	if level > abi.MaxLevels {
		return nil, errors.New("nested deeper than " + strconv.Itoa(abi.MaxLevels) + " levels")
	}
	inner, mode, _ := unwrapNull(t)
	n := &nested{typ: t, null: mode, nodes: 1, scale: o.scale}
	b, scalar := baseOf(inner)
	var err error
	switch {
	case scalar && !b.headers:
		n.base, n.text = b, typeText(b.kind, o)
		if b.kind == wire.Binary && o.null && mode == notNull {
			n.null = byNil
		}
	case inner.Kind() == reflect.Slice:
		n.kind = wire.List
		if err = n.add("", inner.Elem(), inside(o), level); err == nil {
			n.text = "list<" + n.parts[0].text + ">"
		}
	case inner.Kind() == reflect.Map:
		n.kind, n.nodes = wire.Map, 2
		if err = n.add("", inner.Key(), options{}, level); err != nil {
			break
		}
		if key := n.parts[0]; key.null != notNull || key.kind != wire.Utf8 && (key.kind < wire.Int8 || key.kind > wire.Int64) {
			return nil, errors.New("a map by " + inner.Key().String() + " is no column: its keys are strings or signed integers")
		}
		if err = n.add("", inner.Elem(), inside(o), level); err == nil {
			n.text = "map<" + n.parts[0].text + "," + n.parts[1].text + ">"
		}
	case inner.Kind() == reflect.Struct:
		n.kind = wire.Struct
		err = n.addFields(inner, level)
	default:
		return nil, errors.New("type " + t.String() + " is no column")
	}
	if err != nil {
		return nil, err
	}
	if o.null && (n.kind == wire.List || n.kind == wire.Map) {
		if mode != notNull {
			return nil, errors.New("a nil value is its null already")
		}
		n.null = byNil
	}
	if n.null != notNull {
		n.text += "?"
	}
	return n, nil
}

// inside is what a tag says of a list's elements or a map's values: precision and scale of decimals.
func inside(o options) options { return options{precision: o.precision, scale: o.scale} }

func (n *nested) addFields(t reflect.Type, level int) error {
	var texts []string
	for i := range t.NumField() {
		f := t.Field(i)
		o, err := parseTag(f)
		if err != nil {
			return err
		}
		if o.skip || !f.IsExported() {
			continue
		}
		if err := n.add(o.name, f.Type, o, level); err != nil {
			return errors.New("field " + f.Name + ": " + err.Error())
		}
		if slices.Contains(n.names[:len(n.names)-1], o.name) {
			return errors.New("two fields are named " + strconv.Quote(o.name))
		}
		n.index = append(n.index, i)
		texts = append(texts, quoteName(o.name)+":"+n.parts[len(n.parts)-1].text)
	}
	if len(texts) == 0 {
		return errors.New("struct " + t.String() + " has no exported fields")
	}
	n.text = "struct<" + strings.Join(texts, ",") + ">"
	return nil
}

func (n *nested) add(name string, t reflect.Type, o options, level int) error {
	part, err := nestedOf(t, o, level+1)
	if err != nil {
		return err
	}
	n.names, n.parts, n.nodes = append(n.names, name), append(n.parts, part), n.nodes+part.nodes
	return nil
}

// kinds are the nodes in preorder.
func (n *nested) kinds(out []wire.Kind) []wire.Kind {
	if out = append(out, n.kind); n.kind == wire.Map {
		out = append(out, wire.Struct)
	}
	for _, p := range n.parts {
		out = p.kinds(out)
	}
	return out
}

// load sets v to value i of the node; false if the block's offsets are wrong.
func (n *nested) load(v reflect.Value, b *wire.Block, node, i int) bool {
	src := &b.Columns[node]
	if i >= src.Length {
		return false
	}
	if n.null != notNull && src.IsNull(i) {
		v.SetZero()
		return true
	}
	switch n.null {
	case byPointer:
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	case byFlag:
		v.Field(1).SetBool(true)
		v = v.Field(0)
	}
	switch n.kind {
	case wire.List:
		from, to, ok := src.Span(i)
		if !ok || to > n.parts[0].length(b, node+1) {
			return false
		}
		v.Set(reflect.MakeSlice(v.Type(), to-from, to-from))
		for j := from; j < to; j++ {
			if !n.parts[0].load(v.Index(j-from), b, node+1, j) {
				return false
			}
		}
		return true
	case wire.Map:
		return n.loadMap(v, b, src, node, i)
	case wire.Struct:
		at := node + 1
		for k, p := range n.parts {
			if !p.load(v.Field(n.index[k]), b, at, i) {
				return false
			}
			at += p.nodes
		}
		return true
	}
	return n.loadScalar(v, src, i)
}

// length is how many values of the node there are; of a struct, which has no buffer of its own, those that all fields have.
func (n *nested) length(b *wire.Block, node int) int {
	length := b.Columns[node].Length
	if n.kind == wire.Struct {
		at := node + 1
		for _, p := range n.parts {
			length = min(length, p.length(b, at))
			at += p.nodes
		}
	}
	return length
}

func (n *nested) loadMap(v reflect.Value, b *wire.Block, src *wire.Column, node, i int) bool {
	from, to, ok := src.Span(i)
	if !ok || to > n.parts[0].length(b, node+2) {
		return false
	}
	m := reflect.MakeMapWithSize(v.Type(), to-from)
	key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
	for j := from; j < to; j++ {
		value.SetZero()
		if !n.parts[0].load(key, b, node+2, j) || !n.parts[1].load(value, b, node+2+n.parts[0].nodes, j) {
			return false
		}
		m.SetMapIndex(key, value)
	}
	v.Set(m)
	return true
}

func (n *nested) loadScalar(v reflect.Value, src *wire.Column, i int) bool {
	switch n.kind {
	case wire.Bool:
		v.SetBool(src.Values[i>>3]>>(i&7)&1 != 0)
	case wire.Int8:
		v.SetInt(int64(int8(src.Values[i])))
	case wire.Int16:
		v.SetInt(int64(int16(binary.LittleEndian.Uint16(src.Values[2*i:]))))
	case wire.Int32, wire.Date32:
		v.SetInt(int64(int32(binary.LittleEndian.Uint32(src.Values[4*i:]))))
	case wire.Int64:
		v.SetInt(int64(binary.LittleEndian.Uint64(src.Values[8*i:])))
	case wire.Float32:
		*(*float32)(v.Addr().UnsafePointer()) = *(*float32)(unsafe.Pointer(&src.Values[4*i]))
	case wire.Float64:
		*(*float64)(v.Addr().UnsafePointer()) = *(*float64)(unsafe.Pointer(&src.Values[8*i]))
	case wire.Timestamp:
		*(*time.Time)(v.Addr().UnsafePointer()) = time.UnixMicro(int64(binary.LittleEndian.Uint64(src.Values[8*i:]))).UTC()
	case wire.Decimal:
		p := src.Values[16*i:]
		*(*Decimal)(v.Addr().UnsafePointer()) = Decimal{Low: binary.LittleEndian.Uint64(p), High: int64(binary.LittleEndian.Uint64(p[8:])), Scale: uint8(n.scale)}
	default:
		p, ok := src.Slice(i)
		if !ok {
			return false
		}
		if n.kind == wire.Utf8 {
			v.SetString(unsafe.String(unsafe.SliceData(p), len(p)))
		} else {
			v.SetBytes(p)
		}
	}
	return true
}

// value takes the wrapper of a null off; false if it is null. The zero Value stands for what lies under a null.
func (n *nested) value(v reflect.Value) (reflect.Value, bool) {
	if !v.IsValid() {
		return v, false
	}
	switch n.null {
	case byPointer:
		return v.Elem(), !v.IsNil()
	case byNil:
		return v, !v.IsNil()
	case byFlag:
		return v.Field(0), v.Field(1).Bool()
	}
	return v, true
}

// store writes the node and those below it.
func (n *nested) store(w *wire.BlockWriter, values []reflect.Value) {
	w.Node(len(values))
	if len(values) == 0 {
		n.storeEmpty(w)
		return
	}
	plain := make([]reflect.Value, len(values)) // without wrappers; the zero Value: null, or under one
	nulls := false
	for i, v := range values {
		if v, ok := n.value(v); ok {
			plain[i] = v
		} else {
			nulls = true
		}
	}
	if nulls && n.null != notNull {
		valid := w.Validity(len(plain))
		for i, v := range plain {
			if v.IsValid() {
				valid[i>>3] |= 1 << (i & 7)
			}
		}
	}
	switch n.kind {
	case wire.List:
		n.parts[0].store(w, n.items(w, plain))
	case wire.Map:
		keys, contents := n.entries(w, plain)
		w.Node(len(keys))
		n.parts[0].store(w, keys)
		n.parts[1].store(w, contents)
	case wire.Struct:
		field := make([]reflect.Value, len(plain))
		for k, p := range n.parts {
			for i, v := range plain {
				field[i] = reflect.Value{}
				if v.IsValid() {
					field[i] = v.Field(n.index[k])
				}
			}
			p.store(w, field)
		}
	default:
		n.storeScalars(w, plain)
	}
}

// storeEmpty writes what stands below a node without values.
func (n *nested) storeEmpty(w *wire.BlockWriter) {
	for range n.nodes - 1 {
		w.Node(0)
	}
}

func (n *nested) items(w *wire.BlockWriter, lists []reflect.Value) (items []reflect.Value) {
	offsets := w.Values(4 * (len(lists) + 1))
	clear(offsets[:4])
	for i, v := range lists {
		if v.IsValid() {
			for j := range v.Len() {
				items = append(items, v.Index(j))
			}
		}
		binary.LittleEndian.PutUint32(offsets[4*i+4:], uint32(len(items)))
	}
	return items
}

// entries go in order of their keys, so that one call always has one answer.
func (n *nested) entries(w *wire.BlockWriter, maps []reflect.Value) (keys, values []reflect.Value) {
	offsets := w.Values(4 * (len(maps) + 1))
	clear(offsets[:4])
	for i, v := range maps {
		if v.IsValid() {
			from := len(keys)
			keys = append(keys, v.MapKeys()...)
			slices.SortFunc(keys[from:], n.parts[0].compare)
			for _, k := range keys[from:] {
				values = append(values, v.MapIndex(k))
			}
		}
		binary.LittleEndian.PutUint32(offsets[4*i+4:], uint32(len(keys)))
	}
	return keys, values
}

func (n *nested) compare(a, b reflect.Value) int {
	if n.kind == wire.Utf8 {
		return strings.Compare(a.String(), b.String())
	}
	switch x, y := a.Int(), b.Int(); {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func (n *nested) storeScalars(w *wire.BlockWriter, values []reflect.Value) {
	if n.kind.HasBytes() {
		w.AppendBytes(len(values), func(i int, b []byte) []byte {
			switch {
			case !values[i].IsValid():
				return b
			case n.kind == wire.Utf8:
				return append(b, values[i].String()...)
			}
			return append(b, values[i].Bytes()...)
		})
		return
	}
	width := n.kind.Width()
	out := w.Values((len(values)*max(width*8, 1) + 7) / 8)
	clear(out)
	for i, v := range values {
		if !v.IsValid() {
			continue
		}
		at := out[min(width*i, len(out)):]
		switch n.kind {
		case wire.Bool:
			if v.Bool() {
				out[i>>3] |= 1 << (i & 7)
			}
		case wire.Float32:
			binary.LittleEndian.PutUint32(at, float32bits(float32(v.Float())))
		case wire.Float64:
			binary.LittleEndian.PutUint64(at, float64bits(v.Float()))
		case wire.Timestamp:
			binary.LittleEndian.PutUint64(at, uint64(v.Interface().(time.Time).UnixMicro()))
		case wire.Decimal:
			d, _ := decimalIn(v).Rescale(uint8(n.scale))
			binary.LittleEndian.PutUint64(at, d.Low)
			binary.LittleEndian.PutUint64(at[8:], uint64(d.High))
		default:
			var wide [8]byte
			binary.LittleEndian.PutUint64(wide[:], uint64(v.Int()))
			copy(at, wide[:width])
		}
	}
}

func float32bits(f float32) uint32 { return *(*uint32)(unsafe.Pointer(&f)) }
func float64bits(f float64) uint64 { return *(*uint64)(unsafe.Pointer(&f)) }

// decimalIn reads a weir.Decimal, which has this package's layout; a value out of a map cannot be pointed at.
func decimalIn(v reflect.Value) Decimal {
	held := reflect.New(v.Type())
	held.Elem().Set(v)
	return *(*Decimal)(held.UnsafePointer())
}

// size is an upper bound of the bytes that the value takes.
func (n *nested) size(v reflect.Value) int {
	const perNode = 1 + 4 // validity and an offset
	v, ok := n.value(v)
	if !ok || !v.IsValid() {
		return perNode*n.nodes + 16
	}
	total := perNode + n.kind.Width()
	switch n.kind {
	case wire.Utf8, wire.Binary:
		total += v.Len()
	case wire.List:
		for i := range v.Len() {
			total += n.parts[0].size(v.Index(i))
		}
	case wire.Map:
		for it := v.MapRange(); it.Next(); {
			total += perNode + n.parts[0].size(it.Key()) + n.parts[1].size(it.Value())
		}
	case wire.Struct:
		for k, p := range n.parts {
			total += p.size(v.Field(n.index[k]))
		}
	}
	return total
}

// own replaces what the value shares with the user's by copies. Strings never change.
func (n *nested) own(v reflect.Value) {
	if !n.shares() {
		return
	}
	switch n.null {
	case byPointer:
		if v.IsNil() {
			return
		}
		copied := reflect.New(v.Type().Elem())
		copied.Elem().Set(v.Elem())
		v.Set(copied)
		v = v.Elem()
	case byFlag:
		v = v.Field(0)
	}
	switch n.kind {
	case wire.Binary:
		v.SetBytes(bytes.Clone(v.Bytes()))
	case wire.List:
		if v.IsNil() {
			return
		}
		copied := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(copied, v)
		for i := range copied.Len() {
			n.parts[0].own(copied.Index(i))
		}
		v.Set(copied)
	case wire.Map:
		if v.IsNil() {
			return
		}
		copied := reflect.MakeMapWithSize(v.Type(), v.Len())
		value := reflect.New(v.Type().Elem()).Elem()
		for it := v.MapRange(); it.Next(); {
			value.Set(it.Value())
			n.parts[1].own(value)
			copied.SetMapIndex(it.Key(), value)
		}
		v.Set(copied)
	case wire.Struct:
		for k, p := range n.parts {
			p.own(v.Field(n.index[k]))
		}
	}
}

// shares says whether a copied value has memory in common with its original.
func (n *nested) shares() bool {
	return n.null == byPointer || n.kind == wire.Binary || n.kind == wire.List || n.kind == wire.Map || slices.ContainsFunc(n.parts, (*nested).shares)
}

// check finds decimals that do not fit.
func (n *nested) check(v reflect.Value) error {
	v, ok := n.value(v)
	if !ok {
		return nil
	}
	switch n.kind {
	case wire.Decimal:
		if d := decimalIn(v); !d.fits(n.scale) {
			return errors.New("a decimal with scale " + strconv.Itoa(int(d.Scale)) + " does not fit " + n.text)
		}
	case wire.List:
		for i := range v.Len() {
			if err := n.parts[0].check(v.Index(i)); err != nil {
				return err
			}
		}
	case wire.Map:
		for it := v.MapRange(); it.Next(); {
			if err := n.parts[1].check(it.Value()); err != nil {
				return err
			}
		}
	case wire.Struct:
		for k, p := range n.parts {
			if err := p.check(v.Field(n.index[k])); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d Decimal) fits(scale int) bool {
	_, ok := d.Rescale(uint8(scale))
	return ok
}
