package weir

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirstream/weir/sdk/go/internal/abi"
	"github.com/weirstream/weir/sdk/go/internal/guest"
)

// Address names a stateful function: Type is "namespace/name", ID whatever it is one of. Whoever knows an address may send to it: a function with that address comes
// to be with its first message, and costs nothing while it has no state and no message.
type Address struct{ Type, ID string }

// String is the address as the command line writes it.
func (a Address) String() string { return a.Type + "/" + a.ID }

// Stateful declares a stateful function: one with an address, that gets messages and sends them.
//
//	var (
//		counter = weir.Stateful("com.example/counter")
//		seen    = weir.ValueOf[int64](counter, "seen")
//	)
//
//	func init() {
//		weir.On(counter, weir.AsText, func(ctx *weir.Context, name *string) error {
//			n := seen.Edit(ctx)
//			*n++
//			weir.Reply(ctx, weir.AsText, fmt.Sprintf("hello %s, for the %d. time", *name, *n))
//			return nil
//		})
//	}
//
// Messages of one address come one after the other, those of one sender in the order in which they were sent. State belongs to the address.
func Stateful(typ string, opts ...FunctionOption) *Function {
	namespace, name, ok := strings.Cut(typ, "/")
	f := declare(nameOf(namespace, name), []string{"id"}, opts)
	f.fn.Type = typ
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		f.fn.Fail(errors.New("type \"" + typ + "\": want namespace/name, such as com.example/counter"))
	}
	s := &stateful{}
	f.stateful, f.ctx.stateful = s, s
	in := In[received](f, "messages")
	in.On(s.receive)
	s.sent = output[sentRow](f, "messages")
	return f
}

// nameOf is the name of a type's function: the last part of the type, unless the module has another one of that name.
func nameOf(namespace, name string) string {
	clean := func(s string) string { return strings.Map(nameRune, s) }
	short := clean(name)
	if guest.Default.Function(short) == nil {
		return short
	}
	return clean(namespace) + "_" + short
}

func nameRune(r rune) rune {
	if r == '.' || r == '/' {
		return '_'
	}
	return r
}

// stateful is what a function with an address has besides.
type stateful struct {
	sent     *Output[sentRow]
	egress   *Output[egressRow]
	requests *Output[requestRow]
	handlers []handler
	last     int // the handler of the message before
	rest     func(*Context, Message) error
	answers  map[string]func(*Context, *Answer) error
}

type handler struct {
	typename string
	run      func(*Context, *received) error
}

// The rows as the contract has them.
type received struct {
	ID         string       `weir:"id"`
	CallerType Null[string] `weir:"caller_type"`
	CallerID   Null[string] `weir:"caller_id"`
	Typename   string       `weir:"typename"`
	Value      []byte       `weir:"value,null"`
}

type sentRow struct {
	Type     string       `weir:"type"`
	ID       string       `weir:"id"`
	Typename string       `weir:"typename"`
	Value    []byte       `weir:"value,null"`
	Op       int8         `weir:"op"`
	DelayMs  int64        `weir:"delay_ms"`
	Token    Null[string] `weir:"token"`
}

const (
	opSend int8 = iota
	opDelay
	opCancel
)

const answerTypename = "io.weir/answer"

func (f *Function) mustBeStateful(what string) bool {
	if f.stateful == nil {
		f.fn.Fail(errors.New(what + " belongs to a function that weir.Stateful declares"))
		return false
	}
	return true
}

// On sets the handler of a function's messages of one type. The value is valid until the handler returns. An error that it returns refuses the message: nothing of
// what the handler did for it happens.
func On[T any](f *Function, t *Type[T], handle func(ctx *Context, value *T) error) {
	if !f.mustBeStateful("weir.On") {
		return
	}
	if slices.ContainsFunc(f.stateful.handlers, func(h handler) bool { return h.typename == t.name }) {
		f.fn.Fail(errors.New("messages of type \"" + t.name + "\" have two handlers"))
	}
	value := new(T)
	run := func(ctx *Context, m *received) error {
		if m.Value == nil {
			return errors.New("a message of type " + t.name + " without a value")
		}
		var zero T
		*value = zero
		if err := t.unmarshal(m.Value, value); err != nil {
			return errors.New("read a message of type " + t.name + ": " + err.Error())
		}
		return handle(ctx, value)
	}
	f.stateful.handlers = append(f.stateful.handlers, handler{t.name, run})
}

// Message is a message as it came.
type Message struct {
	Typename string
	Value    []byte // nil: it has none
}

// OnOther sets the handler of messages of all types that have no handler of their own. Without one such messages are refused.
func OnOther(f *Function, handle func(ctx *Context, m Message) error) {
	if f.mustBeStateful("weir.OnOther") {
		f.stateful.rest = handle
	}
}

// receive finds the handler of a message.
func (s *stateful) receive(ctx *Context, m *received) error {
	ctx.message = m
	if s.last < len(s.handlers) && s.handlers[s.last].typename == m.Typename {
		return s.handlers[s.last].run(ctx, m)
	}
	for i := range s.handlers {
		if s.handlers[i].typename == m.Typename {
			s.last = i
			return s.handlers[i].run(ctx, m)
		}
	}
	if m.Typename == answerTypename && s.answers != nil {
		return s.answer(ctx, m)
	}
	if s.rest != nil {
		return s.rest(ctx, Message{m.Typename, m.Value})
	}
	known := make([]string, 0, len(s.handlers))
	for _, h := range s.handlers {
		known = append(known, h.typename)
	}
	return errors.New("no handler for messages of type " + strconv.Quote(m.Typename) + ", there are some for " + strings.Join(known, ", "))
}

// Self is the address that the message came to.
func (ctx *Context) Self() Address {
	if ctx.message == nil {
		return Address{}
	}
	return Address{ctx.call.Fn.Type, ctx.message.ID}
}

// Caller is who sent the message; false for one from outside, such as from a topic. Like every text of a message it is valid until the handler returns.
func (ctx *Context) Caller() (Address, bool) {
	if ctx.message == nil || !ctx.message.CallerType.Valid {
		return Address{}, false
	}
	return Address{ctx.message.CallerType.V, ctx.message.CallerID.V}, true
}

// out is where the current function sends.
func (ctx *Context) out() *stateful {
	if ctx.stateful == nil {
		panic("weir: a message sent in function " + ctx.call.Fn.Name + ", which is not declared with weir.Stateful")
	}
	return ctx.stateful
}

// Send sends a value to an address, also to the function's own.
func Send[T any](ctx *Context, to Address, t *Type[T], value T) {
	send(ctx, to, t, &value, opSend, 0, Null[string]{})
}

// Reply sends a value to whoever sent the message. Without a caller there is nobody to reply to, and nothing happens.
func Reply[T any](ctx *Context, t *Type[T], value T) {
	if to, ok := ctx.Caller(); ok {
		send(ctx, to, t, &value, opSend, 0, Null[string]{})
	}
}

// SendAfter sends a value to an address later. Until then it belongs to the state of the sender, and outlives every crash.
func SendAfter[T any](ctx *Context, delay time.Duration, to Address, t *Type[T], value T) {
	send(ctx, to, t, &value, opDelay, delay.Milliseconds(), Null[string]{})
}

// SendAfterWithToken is SendAfter with a token, by which the sender can cancel it, or replace it by using the token again.
func SendAfterWithToken[T any](ctx *Context, token string, delay time.Duration, to Address, t *Type[T], value T) {
	send(ctx, to, t, &value, opDelay, delay.Milliseconds(), Some(token))
}

// Cancel drops what this address sent with the token, if it has not been delivered yet.
func Cancel(ctx *Context, token string) {
	s := ctx.out()
	s.sent.Emit(ctx, sentRow{Op: opCancel, Token: Some(token)})
}

func send[T any](ctx *Context, to Address, t *Type[T], value *T, op int8, delayMs int64, token Null[string]) {
	s := ctx.out()
	var err error
	if ctx.scratch, err = t.marshal(ctx.scratch[:0], value); err != nil {
		ctx.call.Fault(abi.CodeUser, errors.New("write a message of type "+t.name+" to "+to.String()+": "+err.Error()))
		return
	}
	s.sent.Emit(ctx, sentRow{to.Type, to.ID, t.name, ctx.scratch, op, delayMs, token})
}
