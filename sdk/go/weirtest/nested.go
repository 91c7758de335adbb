package weirtest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	weir "github.com/weirstream/weir/sdk/go"
)

// entry is one entry of a map.
type entry struct{ key, value any }

// isHeaders is map<utf8,binary>, which is a Go map here as it is in a row.
func (t *typ) isHeaders() bool {
	return t.name == "map" && len(t.fields) == 2 && t.fields[0].typ.name == "utf8" && t.fields[1].typ.name == "binary" && !t.fields[1].typ.null
}

// encodeNested writes a list, struct or map and what is below it.
func encodeNested(nodes []nodeBytes, n nodeBytes, t typ, values []any) ([]nodeBytes, error) {
	if t.name == "struct" {
		nodes = append(nodes, n)
		for _, f := range t.fields {
			column := make([]any, len(values))
			for i, v := range values {
				fields, ok := v.(map[string]any)
				if !ok && v != nil {
					return nil, fmt.Errorf("value %d: a %T is no struct", i, v)
				}
				if column[i] = fields[f.name]; v == nil && !f.typ.null {
					column[i] = zeroOf(f.typ) // under a null stands anything
				}
			}
			var err error
			if nodes, err = encodeColumn(nodes, f.typ, column); err != nil {
				return nil, fmt.Errorf("field %s: %w", f.name, err)
			}
		}
		return nodes, nil
	}
	var first, second []any
	if len(values) > 0 {
		n.values = make([]byte, 4)
	}
	for i, v := range values {
		switch x := v.(type) {
		case nil:
		case []any:
			first = append(first, x...)
		case []entry:
			for _, e := range x {
				first, second = append(first, e.key), append(second, e.value)
			}
		default:
			return nil, fmt.Errorf("value %d: a %T is no %s", i, v, t.name)
		}
		n.values = le.AppendUint32(n.values, uint32(len(first)))
	}
	nodes = append(nodes, n)
	if t.name == "map" {
		nodes = append(nodes, nodeBytes{length: len(first)})
	}
	nodes, err := encodeColumn(nodes, t.fields[0].typ, first)
	if err != nil || t.name == "list" {
		return nodes, err
	}
	return encodeColumn(nodes, t.fields[1].typ, second)
}

func zeroOf(t typ) any {
	switch t.name {
	case "bool":
		return false
	case "utf8":
		return ""
	case "binary":
		return []byte{}
	case "float32", "float64":
		return 0.0
	case "decimal":
		return decimalValue(make([]byte, 16))
	case "list":
		return []any{}
	case "struct":
		fields := map[string]any{}
		for _, f := range t.fields {
			fields[f.name] = zeroOf(f.typ)
		}
		return fields
	case "map":
		if t.isHeaders() {
			return map[string][]byte{}
		}
		return []entry{}
	}
	return int64(0)
}

// nested reads a list, struct or map whose own node has been read.
func (r *blockReader) nested(t typ, length int, valid, offsets []byte) ([]any, error) {
	if t.name == "map" {
		r.node++
	}
	var parts [][]any
	for _, f := range t.fields {
		vs, err := r.column(f.typ)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		parts = append(parts, vs)
	}
	values := make([]any, length)
	for i := range values {
		if valid != nil && valid[i/8]>>(i%8)&1 == 0 {
			continue
		}
		if t.name == "struct" {
			fields := map[string]any{}
			for k, f := range t.fields {
				fields[f.name] = parts[k][i]
			}
			values[i] = fields
			continue
		}
		from, to := le.Uint32(offsets[4*i:]), le.Uint32(offsets[4*i+4:])
		if t.name == "list" {
			values[i] = append([]any{}, parts[0][from:to]...)
			continue
		}
		entries := []entry{}
		for j := from; j < to; j++ {
			entries = append(entries, entry{parts[0][j], parts[1][j]})
		}
		values[i] = entries
	}
	return values, nil
}

// toNested reads a Go value as a type's.
func toNested(t typ, v reflect.Value) (any, error) {
	if isNull(v.Type()) {
		if !v.Field(1).Bool() {
			return nil, nil
		}
		v = v.Field(0)
	} else if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil, nil
		}
		v = v.Elem()
	}
	switch {
	case t.isHeaders():
		return toHeaders(t, v)
	case t.name == "list" && v.Kind() == reflect.Slice:
		if v.IsNil() && t.null {
			return nil, nil
		}
		list := []any{}
		for i := range v.Len() {
			x, err := toNested(t.fields[0].typ, v.Index(i))
			if err != nil {
				return nil, err
			}
			list = append(list, x)
		}
		return list, nil
	case t.name == "map" && v.Kind() == reflect.Map:
		if v.IsNil() && t.null {
			return nil, nil
		}
		entries := []entry{}
		for _, k := range slices.SortedFunc(slices.Values(v.MapKeys()), byKey) {
			key, err := toNested(t.fields[0].typ, k)
			if err != nil {
				return nil, err
			}
			value, err := toNested(t.fields[1].typ, v.MapIndex(k))
			if err != nil {
				return nil, err
			}
			entries = append(entries, entry{key, value})
		}
		return entries, nil
	case t.name == "struct" && v.Kind() == reflect.Struct:
		fields := map[string]any{}
		for i := range v.NumField() {
			name, _, skip := columnName(v.Type().Field(i))
			if at := indexOf(t.fields, name); !skip && at >= 0 {
				x, err := toNested(t.fields[at].typ, v.Field(i))
				if err != nil {
					return nil, err
				}
				fields[name] = x
			}
		}
		return fields, nil
	}
	x, err := toValue(v)
	if err != nil {
		return nil, err
	}
	return scalar(t, x)
}

func toHeaders(t typ, v reflect.Value) (any, error) {
	if v.Kind() != reflect.Map {
		return nil, fmt.Errorf("a %s is no map", v.Type())
	}
	if v.IsNil() && t.null {
		return nil, nil
	}
	m := map[string][]byte{}
	for it := v.MapRange(); it.Next(); {
		m[it.Key().String()] = it.Value().Bytes()
	}
	return m, nil
}

func byKey(a, b reflect.Value) int {
	if a.Kind() == reflect.String {
		return strings.Compare(a.String(), b.String())
	}
	return int(min(max(a.Int()-b.Int(), -1), 1))
}

// fromNested sets a Go value to a type's.
func fromNested(x any, t typ, v reflect.Value) error {
	if x == nil {
		v.SetZero()
		return nil
	}
	if isNull(v.Type()) {
		v.Field(1).SetBool(true)
		v = v.Field(0)
	} else if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	switch y := x.(type) {
	case []any:
		v.Set(reflect.MakeSlice(v.Type(), len(y), len(y)))
		for i, item := range y {
			if err := fromNested(item, t.fields[0].typ, v.Index(i)); err != nil {
				return err
			}
		}
		return nil
	case []entry:
		v.Set(reflect.MakeMap(v.Type()))
		for _, e := range y {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			if err := fromNested(e.key, t.fields[0].typ, key); err != nil {
				return err
			}
			if err := fromNested(e.value, t.fields[1].typ, value); err != nil {
				return err
			}
			v.SetMapIndex(key, value)
		}
		return nil
	case map[string][]byte:
		if v.Type() != reflect.TypeFor[weir.Headers]() {
			v.Set(reflect.ValueOf(y))
			return nil
		}
	case map[string]any:
		for i := range v.NumField() {
			name, _, skip := columnName(v.Type().Field(i))
			if at := indexOf(t.fields, name); !skip && at >= 0 {
				if err := fromNested(y[name], t.fields[at].typ, v.Field(i)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return fromValue(x, t, v)
}
