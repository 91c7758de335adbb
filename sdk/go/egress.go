package weir

import (
	"encoding/json"
	"errors"
	"time"
	"unsafe"

	"github.com/weirstream/weir/sdk/go/internal/abi"
)

// Egress is a way out: the pipeline's file says which topic it leads to.
type Egress[T any] struct {
	f    *Function
	name string
	t    *Type[T]
}

type egressRow struct {
	Egress   string `weir:"egress"`
	Typename string `weir:"typename"`
	Key      []byte `weir:"key,null"`
	Value    []byte `weir:"value,null"`
}

// To declares that a stateful function gives values to an egress, named "namespace/name".
func To[T any](f *Function, egress string, t *Type[T]) *Egress[T] {
	e := &Egress[T]{f, egress, t}
	if f.mustBeStateful("weir.To") && f.stateful.egress == nil {
		f.stateful.egress = output[egressRow](f, "egress")
	}
	return e
}

// Send gives a value to the egress. The key says which partition it goes to; empty: any.
func (e *Egress[T]) Send(ctx *Context, key string, value T) {
	check(ctx, e.f.fn)
	var err error
	if ctx.scratch, err = e.t.marshal(ctx.scratch[:0], &value); err != nil {
		ctx.call.Fault(abi.CodeUser, errors.New("write a value of type "+e.t.name+" to egress "+e.name+": "+err.Error()))
		return
	}
	row := egressRow{Egress: e.name, Typename: e.t.name, Value: ctx.scratch}
	if key != "" {
		row.Key = unsafe.Slice(unsafe.StringData(key), len(key)) // copied by Emit, like every text
	}
	e.f.stateful.egress.Emit(ctx, row)
}

// Request is a call over HTTP that the host makes. The pipeline's file lists the servers that may be called.
type Request struct {
	Method   string // GET if empty
	URL      string
	Headers  map[string]string
	Body     []byte
	Timeout  time.Duration // of one attempt; 10 s without one
	Attempts int           // at most; 1 without a number
}

// Answer is what came of a request: after all attempts there is always one.
type Answer struct {
	Payload []byte // what was sent along with the request
	Status  int
	Headers map[string]string
	Body    []byte
	Error   string // why there is no good answer; empty if the server gave one
}

// Requests are those of one kind that a function makes, with one handler for their answers.
type Requests struct {
	f    *Function
	name string
}

type requestRow struct {
	Method    string       `weir:"method"`
	URL       string       `weir:"url"`
	Headers   Null[string] `weir:"headers"`
	Body      []byte       `weir:"body,null"`
	Handler   string       `weir:"handler"`
	Payload   []byte       `weir:"payload,null"`
	TimeoutMs int64        `weir:"timeout_ms"`
	Attempts  int32        `weir:"attempts"`
}

// HTTP declares requests of a stateful function and the handler of their answers. A request is made while the function goes on with other messages; its answer comes
// like one of them. It is made again after a crash, with the same Idempotency-Key, and what its handler does happens once.
func HTTP(f *Function, name string, handle func(ctx *Context, a *Answer) error) *Requests {
	r := &Requests{f, name}
	if !f.mustBeStateful("weir.HTTP") {
		return r
	}
	s := f.stateful
	if s.requests == nil {
		s.requests, s.answers = output[requestRow](f, "requests"), map[string]func(*Context, *Answer) error{}
	}
	if s.answers[name] != nil {
		f.fn.Fail(errors.New("requests \"" + name + "\" are declared twice"))
	}
	s.answers[name] = handle
	return r
}

// Send asks for a call. The payload comes back with the answer.
func (r *Requests) Send(ctx *Context, req Request, payload []byte) {
	check(ctx, r.f.fn)
	row := requestRow{
		Method: req.Method, URL: req.URL, Body: req.Body, Handler: r.name, Payload: payload,
		TimeoutMs: req.Timeout.Milliseconds(), Attempts: int32(req.Attempts),
	}
	if len(req.Headers) > 0 {
		b, err := json.Marshal(req.Headers)
		if err != nil {
			ctx.call.Fault(abi.CodeUser, err)
			return
		}
		row.Headers = Some(string(b))
	}
	r.f.stateful.requests.Emit(ctx, row)
}

// answer gives an answer to the handler of its requests.
func (s *stateful) answer(ctx *Context, m *received) error {
	var a struct {
		Handler string            `json:"handler"`
		Payload []byte            `json:"payload"`
		Status  int               `json:"status"`
		Headers map[string]string `json:"headers"`
		Body    []byte            `json:"body"`
		Error   string            `json:"error"`
	}
	if err := json.Unmarshal(m.Value, &a); err != nil {
		return errors.New("read the answer to a request: " + err.Error())
	}
	handle := s.answers[a.Handler]
	if handle == nil {
		return errors.New("an answer to requests \"" + a.Handler + "\", which this version of the function does not make")
	}
	return handle(ctx, &Answer{a.Payload, a.Status, a.Headers, a.Body, a.Error})
}
