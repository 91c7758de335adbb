package weirtest

import (
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"time"

	weir "github.com/weirstream/weir/sdk/go"
	"github.com/weirstream/weir/sdk/go/internal/record"
)

// toValues reads a struct into the values of a schema's columns, by name.
func toValues(cols []column, row any) ([]any, error) {
	found := map[string]any{}
	v := reflect.ValueOf(row)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return nil, fmt.Errorf("a row is a struct, not a %T", row)
	}
	if err := collect(v, "", cols, found); err != nil {
		return nil, err
	}
	values := make([]any, len(cols))
	for i, c := range cols {
		x, ok := found[c.name]
		if !ok {
			return nil, fmt.Errorf("%T has no field for column %s", row, c.name)
		}
		var err error
		if values[i], err = scalar(c.typ, x); err != nil {
			return nil, fmt.Errorf("column %s: %w", c.name, err)
		}
	}
	return values, nil
}

// scalar fits a value to its type: decimals to their scale, and no bytes are empty bytes where null may not be.
func scalar(t typ, x any) (any, error) {
	if d, ok := x.(weir.Decimal); ok {
		scaled, ok := d.Rescale(uint8(t.scale))
		if !ok {
			return nil, fmt.Errorf("%s loses digits", d)
		}
		n, _ := new(big.Int).SetString(strings.Replace(scaled.String(), ".", "", 1), 10)
		return n, nil
	}
	if x == nil && !t.null && t.name == "binary" {
		return []byte{}, nil
	}
	return x, nil
}

// columnName is the name a field's column has, and whether its fields stand on their own.
func columnName(f reflect.StructField) (name string, inline, skip bool) {
	tag, tagged := f.Tag.Lookup("weir")
	name, _, _ = strings.Cut(tag, ",")
	if name == "" {
		name = record.Snake(f.Name)
	}
	return name, f.Anonymous && !tagged, tag == "-" || !f.IsExported() && !f.Anonymous
}

var scalarStructs = map[reflect.Type]bool{reflect.TypeFor[time.Time](): true, reflect.TypeFor[weir.Decimal](): true}

func isNull(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t.PkgPath() == reflect.TypeFor[weir.Raw]().PkgPath() && strings.HasPrefix(t.Name(), "Null[")
}

func collect(v reflect.Value, prefix string, cols []column, found map[string]any) error {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, inline, skip := columnName(f)
		if skip {
			continue
		}
		fv := v.Field(i)
		if at := indexOf(cols, prefix+name); at >= 0 && len(cols[at].typ.fields) > 0 && f.Type != reflect.TypeFor[weir.Headers]() {
			x, err := toNested(cols[at].typ, fv)
			if err != nil {
				return fmt.Errorf("field %s: %w", f.Name, err)
			}
			found[prefix+name] = x
			continue
		}
		switch {
		case isNull(f.Type):
			if !fv.Field(1).Bool() {
				found[prefix+name] = nil
				continue
			}
			fv = fv.Field(0)
		case f.Type.Kind() == reflect.Pointer:
			if fv.IsNil() {
				found[prefix+name] = nil
				continue
			}
			fv = fv.Elem()
		case f.Type.Kind() == reflect.Struct && !scalarStructs[f.Type]:
			under := prefix + name + "."
			if inline {
				under = prefix
			}
			if err := collect(fv, under, cols, found); err != nil {
				return err
			}
			continue
		}
		x, err := toValue(fv)
		if err != nil {
			return fmt.Errorf("field %s: %w", f.Name, err)
		}
		found[prefix+name] = x
	}
	return nil
}

func toValue(v reflect.Value) (any, error) {
	switch x := v.Interface().(type) {
	case time.Time:
		return x.UnixMicro(), nil
	case weir.Decimal:
		return x, nil
	case weir.Headers:
		if x == nil {
			return nil, nil
		}
		return map[string][]byte(x), nil
	case []byte:
		if x == nil {
			return nil, nil
		}
		return x, nil
	}
	switch v.Kind() {
	case reflect.Bool:
		return v.Bool(), nil
	case reflect.String:
		return v.String(), nil
	case reflect.Float32, reflect.Float64:
		return v.Float(), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int(), nil
	}
	return nil, fmt.Errorf("a %s is no column", v.Type())
}

// fromValues fills a struct with the values of a schema's columns, by name.
func fromValues(cols []column, values []any, row reflect.Value) error {
	byName := map[string]any{}
	types := map[string]typ{}
	for i, c := range cols {
		byName[c.name] = values[i]
		types[c.name] = c.typ
	}
	return spread(row, "", byName, types)
}

// fromRow fills a struct from a row.
func fromRow(cols []column, r Row, to any) error {
	return fromValues(cols, r.Values, reflect.ValueOf(to).Elem())
}

func spread(v reflect.Value, prefix string, byName map[string]any, types map[string]typ) error {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, inline, skip := columnName(f)
		if skip {
			continue
		}
		fv := v.Field(i)
		if t, ok := types[prefix+name]; ok && len(t.fields) > 0 && f.Type != reflect.TypeFor[weir.Headers]() {
			if err := fromNested(byName[prefix+name], t, fv); err != nil {
				return fmt.Errorf("field %s: %w", f.Name, err)
			}
			continue
		}
		if f.Type.Kind() == reflect.Struct && !scalarStructs[f.Type] && !isNull(f.Type) {
			under := prefix + name + "."
			if inline {
				under = prefix
			}
			if err := spread(fv, under, byName, types); err != nil {
				return err
			}
			continue
		}
		x, ok := byName[prefix+name]
		if !ok {
			return fmt.Errorf("the output has no column %s for field %s", prefix+name, f.Name)
		}
		if x == nil {
			continue
		}
		if isNull(f.Type) {
			fv.Field(1).SetBool(true)
			fv = fv.Field(0)
		} else if f.Type.Kind() == reflect.Pointer {
			fv.Set(reflect.New(f.Type.Elem()))
			fv = fv.Elem()
		}
		if err := fromValue(x, types[prefix+name], fv); err != nil {
			return fmt.Errorf("field %s: %w", f.Name, err)
		}
	}
	return nil
}

func fromValue(x any, t typ, v reflect.Value) error {
	switch y := x.(type) {
	case bool:
		v.SetBool(y)
	case string:
		v.SetString(y)
	case []byte:
		v.SetBytes(y)
	case float64:
		v.SetFloat(y)
	case map[string][]byte:
		v.Set(reflect.ValueOf(weir.Headers(y)))
	case *big.Int:
		v.Set(reflect.ValueOf(weir.NewDecimal(y.Int64(), uint8(t.scale))))
	case int64:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.UnixMicro(y).UTC()))
			return nil
		}
		if !v.CanInt() || v.OverflowInt(y) {
			return fmt.Errorf("%d does not fit a %s", y, v.Type())
		}
		v.SetInt(y)
	default:
		return fmt.Errorf("a %T does not fit a %s", x, v.Type())
	}
	return nil
}
