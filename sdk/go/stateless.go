package weir

// Map declares a function that makes one row of each row. Its input is named "in", its output "out".
func Map[In, Out any](name string, fn func(row *In) (Out, error), opts ...FunctionOption) *Function {
	f, in, out := stateless[In, Out](name, opts)
	in.On(func(ctx *Context, row *In) error {
		made, err := fn(row)
		if err == nil {
			out.Emit(ctx, made)
		}
		return err
	})
	return f
}

// Filter declares a function that lets the rows through for which keep is true.
func Filter[T any](name string, keep func(row *T) (bool, error), opts ...FunctionOption) *Function {
	f, in, out := stateless[T, T](name, opts)
	in.On(func(ctx *Context, row *T) error {
		ok, err := keep(row)
		if err == nil && ok {
			out.Emit(ctx, *row)
		}
		return err
	})
	return f
}

// FlatMap declares a function that makes any number of rows of each row.
func FlatMap[In, Out any](name string, fn func(row *In, emit func(Out)) error, opts ...FunctionOption) *Function {
	f, in, out := stateless[In, Out](name, opts)
	emit := func(row Out) { out.Emit(f.ctx, row) }
	in.On(func(_ *Context, row *In) error { return fn(row, emit) })
	return f
}

// stateless declares the shape that the three share.
func stateless[T, Out any](name string, opts []FunctionOption) (*Function, *Input[T], *Output[Out]) {
	f := Process(name, opts...)
	return f, In[T](f, "in"), output[Out](f, "out")
}
