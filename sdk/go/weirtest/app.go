package weirtest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	weir "github.com/weirstream/weir/sdk/go"
	"github.com/weirstream/weir/sdk/go/internal/guest"
)

// App runs all stateful functions of the test's package together: what they send each other arrives, what they send later waits for Advance, what they give to the
// outside is collected. Messages of different senders come in any order, drawn from the seed that a failed test prints. It is driven by one goroutine.
type App struct {
	t         testing.TB
	rng       *rand.Rand
	seed      uint64
	functions map[string]*Harness // by type
	types     []string
	clock     int64

	waiting []sent // in the order they were sent
	delayed []later
	number  int
	egress  map[string][]Given
	outside []Sent
	asked   []Asked
}

// Given is what a function gave to an egress.
type Given struct {
	From     weir.Address
	Key      []byte
	Typename string
	Value    []byte
}

// Sent is a message that was sent to an address whose type no function of the package has, such as the reply to a call.
type Sent struct {
	From, To weir.Address
	Typename string
	Value    []byte
}

// Asked is a request over HTTP that waits for its answer.
type Asked struct {
	From weir.Address
	weir.Request
	Payload []byte

	number  int
	handler string
}

type sent struct {
	from *weir.Address // nil: from outside
	to   weir.Address
	row  messageRow
}

type later struct {
	sent
	due    int64
	number int
	token  string
}

// The columns of messages, as the contract has them.
type messageRow struct {
	ID         string            `weir:"id"`
	CallerType weir.Null[string] `weir:"caller_type"`
	CallerID   weir.Null[string] `weir:"caller_id"`
	Typename   string            `weir:"typename"`
	Value      []byte            `weir:"value,null"`
}

type sentRow struct {
	Type     string            `weir:"type"`
	ID       string            `weir:"id"`
	Typename string            `weir:"typename"`
	Value    []byte            `weir:"value,null"`
	Op       int8              `weir:"op"`
	DelayMs  int64             `weir:"delay_ms"`
	Token    weir.Null[string] `weir:"token"`
}

type egressRow struct {
	Egress   string `weir:"egress"`
	Typename string `weir:"typename"`
	Key      []byte `weir:"key,null"`
	Value    []byte `weir:"value,null"`
}

type requestRow struct {
	Method    string            `weir:"method"`
	URL       string            `weir:"url"`
	Headers   weir.Null[string] `weir:"headers"`
	Body      []byte            `weir:"body,null"`
	Handler   string            `weir:"handler"`
	Payload   []byte            `weir:"payload,null"`
	TimeoutMs int64             `weir:"timeout_ms"`
	Attempts  int32             `weir:"attempts"`
}

// maxDeliveries is how many messages one step may set off.
const maxDeliveries = 10_000_000

// NewApp opens every stateful function of the test's package. The options are those of New; the clock begins on 1 January 2026 unless At says otherwise.
func NewApp(t testing.TB, opts ...Option) *App {
	t.Helper()
	a := &App{t: t, functions: map[string]*Harness{}, egress: map[string][]Given{}}
	for _, f := range guest.Default.Functions {
		if f.Type == "" {
			continue
		}
		own := opts
		if a.seed != 0 { // one seed for all
			own = append(slices.Clone(opts), Seed(a.seed))
		}
		h := New(t, f.Name, own...)
		a.seed, a.clock = h.seed, h.clock
		a.functions[f.Type], a.types = h, append(a.types, f.Type)
	}
	if len(a.types) == 0 {
		t.Fatal("the package declares no stateful function: use weir.Stateful")
	}
	slices.Sort(a.types)
	a.rng = rand.New(rand.NewPCG(a.seed, 1))
	return a
}

// Of is the harness of one function: for State, Entries, Failures and Logs, with the id as the key.
func (a *App) Of(typ string) *Harness {
	a.t.Helper()
	h := a.functions[typ]
	if h == nil {
		a.t.Fatalf("no function of the package has the type %s, there are %v", typ, a.types)
	}
	return h
}

// Deliver sends a message from outside and lets everything happen that comes of it now.
func Deliver[T any](a *App, to weir.Address, typ *weir.Type[T], value T) {
	a.t.Helper()
	Queue(a, to, typ, value)
	a.Settle()
}

// Queue sends a message from outside, and leaves it on its way until Settle, Deliver or Advance.
func Queue[T any](a *App, to weir.Address, typ *weir.Type[T], value T) {
	a.t.Helper()
	b, err := typ.Append(nil, &value)
	if err != nil {
		a.t.Fatalf("write a message of type %s: %v", typ.Name(), err)
	}
	a.waiting = append(a.waiting, sent{to: to, row: messageRow{ID: to.ID, Typename: typ.Name(), Value: b}})
}

// DeliverFrom is Deliver with a caller, to whom the function can reply: see Outside.
func DeliverFrom[T any](a *App, from, to weir.Address, typ *weir.Type[T], value T) {
	a.t.Helper()
	Queue(a, to, typ, value)
	a.waiting[len(a.waiting)-1].from = &from
	a.Settle()
}

// Settle delivers messages until none is on its way.
func (a *App) Settle() {
	a.t.Helper()
	for n := 0; len(a.waiting) > 0; n++ {
		if n > maxDeliveries {
			a.t.Fatalf("%d deliveries, and still there are messages: a loop of functions never ends", n)
		}
		// Some of what waits for one type, in its order: so of two senders either may come first, of one sender never the later.
		typ := a.waiting[a.rng.IntN(len(a.waiting))].to.Type
		h := a.functions[typ]
		most := 1 + a.rng.IntN(8)
		var rest []sent
		for _, m := range a.waiting {
			if m.to.Type != typ || most == 0 {
				rest = append(rest, m)
				continue
			}
			most--
			if h == nil {
				out := Sent{To: m.to, Typename: m.row.Typename, Value: m.row.Value}
				if m.from != nil {
					out.From = *m.from
				}
				a.outside = append(a.outside, out)
				continue
			}
			if m.from != nil {
				m.row.CallerType, m.row.CallerID = weir.Some(m.from.Type), weir.Some(m.from.ID)
			}
			h.Send("messages", m.row)
		}
		a.waiting = rest
		if h != nil {
			a.collect(typ, h)
		}
	}
}

// collect takes what a function has put out.
func (a *App) collect(typ string, h *Harness) {
	a.t.Helper()
	take := func(output string, each func(from weir.Address, values Row)) {
		for i, o := range h.fn.Outputs {
			if o.Name == output {
				rows := h.Output(output)
				h.outputs[i] = nil
				for _, r := range rows {
					each(weir.Address{Type: typ, ID: r.sender}, r)
				}
			}
		}
	}
	take("messages", func(from weir.Address, r Row) {
		row := as[sentRow](h, "messages", r)
		m := sent{from: &from, to: weir.Address{Type: row.Type, ID: row.ID}, row: messageRow{ID: row.ID, Typename: row.Typename, Value: row.Value}}
		token := row.Token.Or("")
		if row.Token.Valid {
			a.delayed = slices.DeleteFunc(a.delayed, func(l later) bool { return *l.from == from && l.token == token && l.token != "" })
		}
		switch row.Op {
		case 0:
			a.waiting = append(a.waiting, m)
		case 1:
			a.number++
			a.delayed = append(a.delayed, later{m, a.clock + row.DelayMs*1000, a.number, token})
		case 2:
			if token == "" {
				a.t.Errorf("%s cancels without a token", from)
			}
		}
	})
	take("egress", func(from weir.Address, r Row) {
		row := as[egressRow](h, "egress", r)
		a.egress[row.Egress] = append(a.egress[row.Egress], Given{from, row.Key, row.Typename, row.Value})
	})
	take("requests", func(from weir.Address, r Row) {
		row := as[requestRow](h, "requests", r)
		a.number++
		asked := Asked{From: from, Payload: row.Payload, handler: row.Handler, number: a.number, Request: weir.Request{
			Method: row.Method, URL: row.URL, Body: row.Body, Timeout: time.Duration(row.TimeoutMs) * time.Millisecond, Attempts: int(row.Attempts),
		}}
		if row.Headers.Valid {
			if err := json.Unmarshal([]byte(row.Headers.V), &asked.Headers); err != nil {
				a.t.Errorf("headers of a request of %s: %v", from, err)
			}
		}
		a.asked = append(a.asked, asked)
	})
}

// Advance moves the clock, and delivers what has waited for it, in the order of its times.
func (a *App) Advance(d time.Duration) {
	a.t.Helper()
	a.Settle()
	until := a.clock + d.Microseconds()
	for {
		next := -1
		for i, l := range a.delayed {
			if l.due <= until && (next < 0 || l.due < a.delayed[next].due || l.due == a.delayed[next].due && l.number < a.delayed[next].number) {
				next = i
			}
		}
		if next < 0 {
			a.tick(until)
			return
		}
		l := a.delayed[next]
		a.delayed = slices.Delete(a.delayed, next, next+1)
		a.tick(max(l.due, a.clock))
		a.waiting = append(a.waiting, l.sent)
		a.Settle()
	}
}

func (a *App) tick(clock int64) {
	a.clock = clock
	for _, typ := range a.types {
		a.functions[typ].AdvanceClock(time.UnixMicro(clock))
	}
}

// Now is the app's clock.
func (a *App) Now() time.Time { return time.UnixMicro(a.clock).UTC() }

// Restart is what a crash after a checkpoint is for functions: fresh instances, the same state, and everything that was on its way still is.
func (a *App) Restart() {
	a.t.Helper()
	for _, typ := range a.types {
		a.functions[typ].flush()
		a.functions[typ].open()
	}
}

// Delayed is how many messages wait for their time.
func (a *App) Delayed() int { return len(a.delayed) }

// Egress is what functions gave to an egress so far.
func (a *App) Egress(name string) []Given { return a.egress[name] }

// Outside is what was sent to types that no function of the package has, so far.
func (a *App) Outside() []Sent { return a.outside }

// Requests are those that wait for their answers, in the order they were made.
func (a *App) Requests() []Asked { return slices.Clone(a.asked) }

// Answer gives a request its answer, and lets everything happen that comes of it.
func (a *App) Answer(asked Asked, answer weir.Answer) {
	a.t.Helper()
	at := slices.IndexFunc(a.asked, func(r Asked) bool { return r.number == asked.number })
	if at < 0 {
		a.t.Fatalf("the request of %s to %s has been answered before", asked.From, asked.URL)
	}
	a.asked = slices.Delete(a.asked, at, at+1)
	value, err := json.Marshal(map[string]any{
		"handler": asked.handler, "payload": asked.Payload, "status": answer.Status, "headers": answer.Headers, "body": answer.Body, "error": answer.Error,
	})
	if err != nil {
		a.t.Fatal(err)
	}
	from := asked.From
	a.waiting = append(a.waiting, sent{from: &from, to: from, row: messageRow{ID: from.ID, Typename: "io.weir/answer", Value: value}})
	a.Settle()
}

func as[T any](h *Harness, output string, r Row) (row T) {
	h.t.Helper()
	for _, o := range h.fn.Outputs {
		if o.Name == output {
			if err := fromRow(o.cols, r, &row); err != nil {
				h.t.Fatalf("output %s: %v", output, err)
			}
		}
	}
	return row
}

// Decode reads a value that a function gave or sent.
func Decode[T any](t testing.TB, typ *weir.Type[T], typename string, value []byte) (v T) {
	t.Helper()
	if typename != typ.Name() {
		t.Fatalf("a value of type %s, want %s", typename, typ.Name())
	}
	if err := typ.Read(value, &v); err != nil {
		t.Fatal(fmt.Errorf("read a value of type %s: %w", typename, err))
	}
	return v
}
