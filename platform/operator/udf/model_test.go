package udf

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/operator/operatortest"
)

// model is the function `script` of testdata/guest as one would write it without
// batches, calls or instances: one record after the other.
type model struct {
	keys      map[string]*modelKey
	watermark int64
	rows      [3][]operatortest.Row
}

type modelKey struct {
	sum     *int64
	text    int
	entries map[int64]int64
	log     []int64
	plans   map[int64]string
	timers  map[modelTimer]bool
}

type modelTimer struct {
	clock bool
	time  int64
	name  string
}

const maxText = 1000 // bytes of the encoded state

func newModel() *model { return &model{keys: map[string]*modelKey{}, watermark: batch.NoTime} }

func (m *model) key(k string) *modelKey {
	if m.keys[k] == nil {
		m.keys[k] = &modelKey{entries: map[int64]int64{}, plans: map[int64]string{}, timers: map[modelTimer]bool{}}
	}
	return m.keys[k]
}

func (k *modelKey) copy() *modelKey {
	c := *k
	if k.sum != nil {
		s := *k.sum
		c.sum = &s
	}
	c.entries, c.plans, c.timers, c.log = maps.Clone(k.entries), maps.Clone(k.plans), maps.Clone(k.timers), slices.Clone(k.log)
	return &c
}

// cause handles one record or firing of a key: all of it, or a dead letter.
func (m *model) cause(key string, time int64, begin func(k *modelKey, say func(string)), ops []string) {
	k := m.key(key).copy()
	var out [2][]operatortest.Row
	emit := func(output int, at int64, text string) {
		out[output] = append(out[output], operatortest.Of(at, key, text))
	}
	if begin != nil {
		begin(k, func(text string) { emit(0, time, text) })
	}
	for _, op := range ops {
		if why := k.do(op, time, emit); why != "" {
			m.rows[2] = append(m.rows[2], operatortest.Of(time, key, why))
			return
		}
	}
	if k.text+5 > maxText {
		m.rows[2] = append(m.rows[2], operatortest.Of(time, key, "max_bytes"))
		return
	}
	m.keys[key] = k
	m.rows[0], m.rows[1] = append(m.rows[0], out[0]...), append(m.rows[1], out[1]...)
}

func (m *model) line(key, script string, time int64) {
	m.cause(key, time, nil, strings.Split(script, "; "))
}

func (m *model) number(key string, n, time int64) {
	m.cause(key, time, nil, []string{fmt.Sprint("add ", n)})
}

func (m *model) event(upTo int64) {
	m.fire(false, upTo)
	m.watermark = upTo
}

// fire fires what is due: of each key the earliest, again and again. Only the
// order within a key is said.
func (m *model) fire(clock bool, upTo int64) {
	for _, key := range slices.Sorted(maps.Keys(m.keys)) {
		for {
			k := m.keys[key]
			var due []modelTimer
			for t := range k.timers {
				if t.clock == clock && t.time <= upTo {
					due = append(due, t)
				}
			}
			if len(due) == 0 {
				break
			}
			t := slices.MinFunc(due, func(a, b modelTimer) int { return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.name, b.name)) })
			delete(k.timers, t)
			var ops []string
			if plan, ok := k.plans[t.time]; ok {
				ops = strings.Split(plan, "|")
			}
			m.cause(key, t.time, func(k *modelKey, say func(string)) {
				say(fmt.Sprint(t.name, " ", t.time))
				delete(k.plans, t.time)
			}, ops)
		}
	}
}

func joined[K cmp.Ordered](m map[K]int64) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, fmt.Sprint(k, "=", m[k]))
	}
	return strings.Join(all, ",")
}

// do is one operation; not empty: why it fails.
func (k *modelKey) do(op string, time int64, emit func(output int, at int64, text string)) string {
	verb, rest, _ := strings.Cut(op, " ")
	one, two, _ := strings.Cut(rest, " ")
	a, _ := strconv.ParseInt(one, 10, 64)
	b, _ := strconv.ParseInt(two, 10, 64)
	say := func(format string, args ...any) { emit(0, time, fmt.Sprintf(format, args...)) }
	timer := modelTimer{clock: strings.HasSuffix(verb, "clock"), time: a, name: strings.TrimPrefix(verb, "-")}
	switch verb {
	case "add":
		s := a
		if k.sum != nil {
			s += *k.sum
		}
		k.sum = &s
		say("sum %d", s)
	case "sum":
		s := int64(0)
		if k.sum != nil {
			s = *k.sum
		}
		say("sum %d %t", s, k.sum != nil)
	case "forget":
		k.sum = nil
	case "text":
		k.text = int(a)
	case "length":
		say("length %d", k.text)
	case "put":
		k.entries[a] = b
	case "get":
		v, ok := k.entries[a]
		say("get %d %d %t", a, v, ok)
	case "delete":
		delete(k.entries, a)
	case "clear":
		clear(k.entries)
	case "scan":
		say("scan %s", joined(k.entries))
	case "append":
		k.log = append(k.log, a)
	case "list":
		say("list %s", strings.Trim(strings.ReplaceAll(fmt.Sprint(k.log), " ", ","), "[]"))
	case "empty":
		k.log = nil
	case "plan":
		k.plans[a] = two
	case "first", "second", "clock":
		k.timers[timer] = true
	case "-first", "-second", "-clock":
		delete(k.timers, timer)
	case "say":
		say("%s", rest)
	case "side":
		emit(1, time, rest)
	case "at":
		emit(0, a, "at "+one)
	case "fill":
		for i := range a {
			say("%1024d", i)
		}
	case "fail":
		return rest
	case "panic":
		return "panicked"
	default:
		panic("the model knows no " + op)
	}
	return ""
}
