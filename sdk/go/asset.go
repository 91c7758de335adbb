package weir

import (
	"errors"

	"github.com/weirstream/weir/sdk/go/internal/guest"
)

// Asset is a file that came with the module: a script, a model, a table.
type Asset[T any] struct {
	fn *guest.Function
	at int
}

// AssetOf declares that a function needs the asset of a name (weir module push FILE.wasm --asset NAME=FILE), decoded once, when the function is opened. decode may keep the bytes; its error
// refuses the opening, and so does an asset that is not there.
func AssetOf[T any](f *Function, name string, decode func([]byte) (T, error)) *Asset[T] {
	if name == "" || decode == nil {
		f.fn.Fail(errors.New("an asset needs a name and a decoder"))
	}
	for _, a := range f.fn.Assets {
		if a.Name == name {
			f.fn.Fail(errors.New("two assets named " + name))
		}
	}
	f.fn.Assets = append(f.fn.Assets, guest.Asset{Name: name, Decode: func(b []byte) (any, error) { return decode(b) }})
	return &Asset[T]{fn: f.fn, at: len(f.fn.Assets) - 1}
}

// Get is what decode gave. It must not be changed.
func (a *Asset[T]) Get(ctx *Context) T {
	check(ctx, a.fn)
	v, _ := ctx.call.Assets[a.at].(T) // a nil interface value is T's own zero
	return v
}

// Bytes is a decoder for AssetOf that gives the file as it is.
func Bytes(b []byte) ([]byte, error) { return b, nil }
