package weir

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/weirstream/weir/sdk/go/internal/guest"
)

// Config is a function's declared configuration: what the pipeline says under the operator's `config`.
type Config[T any] struct{ fn *guest.Function }

// ConfigOf declares that a function is configured by a JSON object, decoded into T once, when the function is opened. defaults is what T holds before; fields of the object that T does not
// have are an error. If T has a method Validate() error, it is called.
func ConfigOf[T any](f *Function, defaults T) *Config[T] {
	if f.fn.Configure != nil {
		f.fn.Fail(errors.New("two configurations"))
	}
	f.fn.Configure = func(text []byte) (any, error) {
		value := defaults
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		if v, ok := any(&value).(interface{ Validate() error }); ok {
			if err := v.Validate(); err != nil {
				return nil, err
			}
		}
		return &value, nil
	}
	return &Config[T]{fn: f.fn}
}

// Get is the configuration. It must not be changed.
func (c *Config[T]) Get(ctx *Context) *T {
	check(ctx, c.fn)
	return ctx.call.Config.(*T)
}
