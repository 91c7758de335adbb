// Command guest is what the tests of the operator run: a function that does what
// its rows say, and some that do one thing. The tests hold a model beside it.
package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	weir "github.com/weirstream/weir/sdk/go"
)

// Line is a row that says what to do: operations separated by "; ".
type Line struct {
	Key    string
	Script string
}

// Number is a row of the second input.
type Number struct {
	K string
	N int64
}

// Said is what an operation answers.
type Said struct {
	Key  string
	Text string
}

var (
	script  = weir.Keyed("script", "key")
	lines   = weir.In[Line](script, "lines")
	numbers = weir.In[Number](script, "numbers", weir.By("k"))
	out     = weir.Out[Said](script)
	side    = weir.Side[Said](script, "side")
	sum     = weir.ValueOf[int64](script, "sum")
	text    = weir.ValueOf[string](script, "text", weir.MaxBytes(1000))
	entries = weir.MapOf[int64, int64](script, "entries")
	log     = weir.ListOf[int64](script, "log", weir.Hosted())
	plans   = weir.MapOf[int64, string](script, "plans")
	first   = weir.EventTimer(script, "first")
	second  = weir.EventTimer(script, "second")
	clock   = weir.ProcessingTimer(script, "clock")
)

func at(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

func say(ctx *weir.Context, format string, args ...any) {
	out.Emit(ctx, Said{weir.Key[string](ctx), fmt.Sprintf(format, args...)})
}

func run(ctx *weir.Context, key, script, separator string) error {
	for op := range strings.SplitSeq(script, separator) {
		if err := do(ctx, key, op); err != nil {
			return err
		}
	}
	return nil
}

var (
	hoard [][]byte
	spun  int64
)

func do(ctx *weir.Context, key, op string) error {
	verb, rest, _ := strings.Cut(op, " ")
	one, two, _ := strings.Cut(rest, " ")
	a, _ := strconv.ParseInt(one, 10, 64)
	b, _ := strconv.ParseInt(two, 10, 64)
	switch verb {
	case "add":
		s := sum.Edit(ctx)
		*s += a
		say(ctx, "sum %d", *s)
	case "sum":
		s, ok := sum.Get(ctx)
		say(ctx, "sum %d %t", s, ok)
	case "forget":
		sum.Clear(ctx)
	case "text":
		text.Set(ctx, strings.Repeat("t", int(a)))
	case "length":
		s, _ := text.Get(ctx)
		say(ctx, "length %d", len(s))
	case "put":
		entries.Put(ctx, a, b)
	case "get":
		v, ok := entries.Get(ctx, a)
		say(ctx, "get %d %d %t", a, v, ok)
	case "delete":
		entries.Delete(ctx, a)
	case "clear":
		entries.Clear(ctx)
	case "scan":
		var all []string
		for k, v := range entries.All(ctx) {
			all = append(all, fmt.Sprint(k, "=", v))
		}
		say(ctx, "scan %s", strings.Join(all, ","))
	case "append":
		log.Append(ctx, a)
	case "list":
		var all []string
		for v := range log.All(ctx) {
			all = append(all, fmt.Sprint(v))
		}
		say(ctx, "list %s", strings.Join(all, ","))
	case "empty":
		log.Clear(ctx)
	case "plan": // what the timers of that time do
		plans.Put(ctx, a, two)
	case "long":
		plans.Put(ctx, a, strings.Repeat("p", int(b)))
	case "plans":
		var all []string
		for k, v := range plans.All(ctx) {
			all = append(all, fmt.Sprint(k, ":", len(v)))
		}
		say(ctx, "plans %s", strings.Join(all, ","))
	case "many": // writes a entries, b apart
		for i := range a {
			entries.Put(ctx, i*b, i)
		}
	case "first":
		first.Set(ctx, at(a))
	case "second":
		second.Set(ctx, at(a))
	case "clock":
		clock.Set(ctx, at(a))
	case "-first":
		first.Delete(ctx, at(a))
	case "-second":
		second.Delete(ctx, at(a))
	case "-clock":
		clock.Delete(ctx, at(a))
	case "again": // the timer sets itself for ever
		first.Set(ctx, ctx.Time().Add(time.Duration(a)*time.Microsecond))
	case "now":
		w := int64(-1)
		if t := ctx.Watermark(); !t.IsZero() {
			w = t.UnixMicro()
		}
		first, last := ctx.KeyGroups()
		say(ctx, "clock %d watermark %d groups %d-%d attempt %d", ctx.Now().UnixMicro(), w, first, last, ctx.Attempt())
	case "say":
		say(ctx, "%s", rest)
	case "side":
		side.Emit(ctx, Said{key, rest})
	case "at":
		out.EmitAt(ctx, at(a), Said{key, "at " + one})
	case "fill": // rows of 1 KiB
		for i := range a {
			say(ctx, "%1024d", i)
		}
	case "fail":
		return errors.New(rest)
	case "panic":
		panic("on purpose")
	case "spin":
		for range a {
			spun = spun*3 + a
		}
	case "loop":
		for !false {
		}
	case "bomb":
		for {
			hoard = append(hoard, make([]byte, 1<<20))
		}
	default:
		return errors.New("no operation " + op)
	}
	return nil
}

func fired(name string) func(ctx *weir.Context, t time.Time) error {
	return func(ctx *weir.Context, t time.Time) error {
		key := strings.Clone(weir.Key[string](ctx))
		say(ctx, "%s %d", name, t.UnixMicro())
		plan, ok := plans.Get(ctx, t.UnixMicro())
		if !ok {
			return nil
		}
		plans.Delete(ctx, t.UnixMicro())
		if strings.HasPrefix(plan, "again") {
			plans.Put(ctx, t.UnixMicro()+1, plan)
		}
		return run(ctx, key, plan, "|")
	}
}

// Pair is a row with a key of two columns that may be null.
type Pair struct {
	A weir.Null[string]
	B weir.Null[int64]
	N int64
}

// PairSum is what pair emits.
type PairSum struct {
	A   weir.Null[string]
	B   weir.Null[int64]
	Sum int64
}

var (
	pair     = weir.Keyed("pair", "a", "b")
	pairs    = weir.In[Pair](pair, "in")
	pairSums = weir.Out[PairSum](pair)
	pairSum  = weir.ValueOf[int64](pair, "sum")
)

// Plain is a row without a key.
type Plain struct{ N int64 }

// Place is where a row was read.
type Place struct {
	N         int64
	Known     bool
	Partition int32
	Sequence  int64
	Row       int32
}

var (
	where  = weir.Process("where", weir.Positions())
	plains = weir.In[Plain](where, "in")
	places = weir.Out[Place](where)
)

// forgetful breaks the rule that nothing survives a call.
var (
	forgetful = weir.Keyed("forgetful", "key")
	remember  = weir.In[Line](forgetful, "in")
	remembers = weir.Out[Said](forgetful)
	counted   = map[string]int{}
)

func init() {
	lines.On(func(ctx *weir.Context, l *Line) error { return run(ctx, l.Key, l.Script, "; ") })
	numbers.On(func(ctx *weir.Context, n *Number) error { return do(ctx, n.K, fmt.Sprint("add ", n.N)) })
	first.On(fired("first"))
	second.On(fired("second"))
	clock.On(fired("clock"))
	pairs.On(func(ctx *weir.Context, p *Pair) error {
		s := pairSum.Edit(ctx)
		*s += p.N
		pairSums.Emit(ctx, PairSum{p.A, p.B, *s})
		return nil
	})
	plains.On(func(ctx *weir.Context, p *Plain) error {
		at, ok := ctx.Position()
		places.Emit(ctx, Place{p.N, ok, at.Partition, at.Sequence, at.Row})
		return nil
	})
	remember.On(func(ctx *weir.Context, l *Line) error {
		counted[strings.Clone(l.Key)]++
		remembers.Emit(ctx, Said{l.Key, fmt.Sprint(counted[l.Key])})
		return nil
	})
}

func main() {}
