package weir

// ReducingState is a declared state that combines what is added into one value of type T a key.
type ReducingState[T any] struct {
	value   *ValueState[T]
	combine func(into *T, with T)
}

// ReducingOf declares a state that combines what is added into one value a key. The first value added is kept as it is.
func ReducingOf[T any](f *Function, name string, combine func(into *T, with T), opts ...StateOption) *ReducingState[T] {
	return &ReducingState[T]{value: newValue[T](f, name, "reducing", opts), combine: combine}
}

// Add combines a value into the state and returns the result.
func (r *ReducingState[T]) Add(ctx *Context, value T) T {
	_, have := r.value.Get(ctx)
	p := r.value.Edit(ctx)
	if have {
		r.combine(p, value)
	} else {
		*p = value
	}
	return *p
}

// Get returns the combined value, and whether anything was added.
func (r *ReducingState[T]) Get(ctx *Context) (T, bool) { return r.value.Get(ctx) }

// Clear removes the value.
func (r *ReducingState[T]) Clear(ctx *Context) { r.value.Clear(ctx) }

// Aggregate says how values of type In become an accumulator, and that a result.
type Aggregate[In, Acc, Result any] struct {
	Add    func(into *Acc, value In) // into is a new zero value at first
	Result func(acc *Acc) Result
}

// AggregatingState is a declared state that keeps an accumulator a key and shows a result.
type AggregatingState[In, Acc, Result any] struct {
	value *ValueState[Acc]
	agg   Aggregate[In, Acc, Result]
}

// AggregatingOf declares a state that keeps an accumulator a key and shows a result.
func AggregatingOf[In, Acc, Result any](f *Function, name string, agg Aggregate[In, Acc, Result], opts ...StateOption) *AggregatingState[In, Acc, Result] {
	return &AggregatingState[In, Acc, Result]{value: newValue[Acc](f, name, "aggregating", opts), agg: agg}
}

// Add adds a value.
func (a *AggregatingState[In, Acc, Result]) Add(ctx *Context, value In) {
	a.agg.Add(a.value.Edit(ctx), value)
}

// Get returns the result, and whether anything was added.
func (a *AggregatingState[In, Acc, Result]) Get(ctx *Context) (Result, bool) {
	acc, ok := a.value.Get(ctx)
	if !ok {
		return *new(Result), false
	}
	return a.agg.Result(&acc), true
}

// Clear removes the accumulator.
func (a *AggregatingState[In, Acc, Result]) Clear(ctx *Context) { a.value.Clear(ctx) }
