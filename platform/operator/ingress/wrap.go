package ingress

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"unsafe"
)

// wrappers write a record's text as the protobuf message of one field 1 that
// StateFun has for each primitive type. As proto3 wants it, a zero is an empty
// message; a float's negative zero is not zero.
var wrappers = map[string]func(dst, text []byte) ([]byte, error){
	"io.statefun.types/string": func(dst, text []byte) ([]byte, error) {
		if len(text) == 0 {
			return dst, nil
		}
		dst = binary.AppendUvarint(append(dst, tagBytes), uint64(len(text)))
		return append(dst, text...), nil
	},
	"io.statefun.types/bool": func(dst, text []byte) ([]byte, error) {
		switch string(text) {
		case "true":
			return append(dst, tagVarint, 1), nil
		case "false":
			return dst, nil
		}
		return dst, notA("bool", text)
	},
	"io.statefun.types/int": func(dst, text []byte) ([]byte, error) {
		v, err := strconv.ParseInt(view(text), 10, 32)
		if err != nil {
			return dst, notA("32-bit integer", text)
		}
		return fixed32(dst, uint32(v)), nil
	},
	"io.statefun.types/long": func(dst, text []byte) ([]byte, error) {
		v, err := strconv.ParseInt(view(text), 10, 64)
		if err != nil {
			return dst, notA("64-bit integer", text)
		}
		return fixed64(dst, uint64(v)), nil
	},
	"io.statefun.types/float": func(dst, text []byte) ([]byte, error) {
		v, err := strconv.ParseFloat(view(text), 32)
		if err != nil {
			return dst, notA("32-bit float", text)
		}
		return fixed32(dst, math.Float32bits(float32(v))), nil
	},
	"io.statefun.types/double": func(dst, text []byte) ([]byte, error) {
		v, err := strconv.ParseFloat(view(text), 64)
		if err != nil {
			return dst, notA("64-bit float", text)
		}
		return fixed64(dst, math.Float64bits(v)), nil
	},
}

// Wrapped lists the type names that have a wrapper.
func Wrapped() []string { return slices.Sorted(maps.Keys(wrappers)) }

// Tags of field 1, by wire type.
const (
	tagVarint  = 1<<3 | 0
	tagFixed64 = 1<<3 | 1
	tagBytes   = 1<<3 | 2
	tagFixed32 = 1<<3 | 5
)

func fixed32(dst []byte, v uint32) []byte {
	if v == 0 {
		return dst
	}
	return binary.LittleEndian.AppendUint32(append(dst, tagFixed32), v)
}

func fixed64(dst []byte, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return binary.LittleEndian.AppendUint64(append(dst, tagFixed64), v)
}

func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func notA(what string, text []byte) error {
	const most = 40
	if len(text) > most {
		text = append(text[:most:most], "…"...)
	}
	return fmt.Errorf("it is not the text of a %s: %q", what, text)
}
