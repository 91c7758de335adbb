package pipelines

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/abi/manifest"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/planner"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// types is a world with one module of stateful functions: count keeps a number, note nothing.
type types struct{}

func (types) Module(string) (planner.Module, bool) {
	const function = `{"name":"NAME","type":"a/NAME","inputs":[{"name":"messages","columns":"id:utf8,typename:utf8,value:binary?","key":["id"]}],
		"outputs":[{"name":"messages","columns":"type:utf8,id:utf8,typename:utf8,value:binary?,op:int8,delay_ms:int64,token:utf8?"}]STATE}`
	count := strings.NewReplacer("NAME", "count", "STATE", `,"state":[{"name":"n","kind":"value","form":"framed","codec":"row","value":"1:n:int64"}]`).Replace(function)
	note := strings.NewReplacer("NAME", "note", "STATE", "").Replace(function)
	m, err := manifest.Parse([]byte(`{"abi":{"major":1,"minor":0},"functions":[` + count + "," + note + "]}"))
	if err != nil {
		panic(err)
	}
	return planner.Module{Name: "m", Digest: strings.Repeat("ab", 32), Manifest: m}, true
}
func (types) ModuleNames() []string { return []string{"m"} }
func (types) Topic(name string) (jetstream.Topic, bool) {
	return jetstream.Topic{Name: name}, true
}
func (types) HasSecret(string) bool { return false }
func (types) TopicNames() []string  { return nil }

func TestADiffOfFunctionsSpeaksOfTypes(t *testing.T) {
	graph := func(text string) *jobgraph.Graph {
		f, problems := pipelinefile.Parse([]byte("pipeline: p\nerrors: fail\nfunctions:\n  modules: m\n" + text))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		p, problems := planner.Make(f, types{})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return p.Graph
	}
	both, one := graph(""), graph("  types: a/note\n")
	diff := func(from, to *jobgraph.Graph) (lines []string) {
		for _, c := range stateChanges(from, to) {
			if c.GetKind() != weirv1.StateChange_KIND_KEPT {
				lines = append(lines, strings.ToLower(strings.TrimPrefix(c.GetKind().String(), "KIND_"))+" "+c.GetOperator()+"."+c.GetState())
			}
		}
		return append(lines, graphLines(from, to)...)
	}
	for name, c := range map[string]struct {
		got, want []string
	}{
		"a type more":    {diff(one, both), []string{"new a/count.n", "+ type a/count"}},
		"a type less":    {diff(both, one), []string{"dropped a/count.n", "- type a/count"}},
		"the same":       {diff(both, graph("")), nil},
		"told otherwise": {diff(both, graph("  config: {a/count: {x: 1}}\n")), []string{"~ type a/count: its config differs"}},
		"an egress more": {diff(both, graph("  egress: [{id: a/out, topic: t}]\n")), []string{"+ sink functions.egress.a/out (topic default/t)"}},
		"an ingress more": {diff(one, graph("  types: a/note\n  ingress: [{topic: t, to: a/note}]\n")), []string{"new functions.ingress.t.positions",
			"+ source functions.ingress.t (topic default/t)", "+ operator functions.router.t (ingress)", "+ functions.router.t -> functions.dispatch, hash by id", "+ functions.ingress.t -> functions.router.t"}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s: %q, want %q", name, c.got, c.want)
		}
	}
}

func TestStateIsKeptWhereItsOldFormCanBeRead(t *testing.T) {
	value := func(codec, fields string, version int) *shape {
		return &shape{name: "s", state: jobgraph.State{Kind: "value", Codec: codec, Value: fields, Version: version}, key: [][]string{{"k"}}}
	}
	rekeyed := value("row", "1:a:int32", 0)
	rekeyed.key = [][]string{{"other"}}
	list := value("row", "1:a:int32", 0)
	list.state.Kind = "list"
	old := value("row", "1:a:int32", 0)
	for name, c := range map[string]struct {
		was, now *shape
		kept     bool
	}{
		"the same":                    {old, value("row", "1:a:int32", 0), true},
		"a field more":                {old, value("row", "1:a:int32,2:b:utf8?", 0), true},
		"a field renamed and widened": {old, value("row", "1:c:int64", 0), true},
		"an id with another meaning":  {old, value("row", "1:a:utf8", 0), false},
		"another codec":               {old, value("opaque", "", 0), false},
		"another kind":                {old, list, false},
		"another key":                 {old, rekeyed, false},
		"a later version of a codec":  {value("opaque", "", 1), value("opaque", "", 2), false},
	} {
		if why := incompatible(c.was, c.now); (why == "") != c.kept {
			t.Errorf("%s: %q", name, why)
		}
	}
}

func TestRatesAreOfTheLastSeconds(t *testing.T) {
	l := live{jobs: map[string]*history{}}
	id := taskID{stage: 1}
	at := func(seconds int, busy time.Duration) sample {
		return sample{at: time.Unix(int64(seconds), 0), busy: map[taskID]time.Duration{id: busy}, waited: map[taskID]time.Duration{id: busy / 4}}
	}
	if busy, _ := l.rates("p", 1, at(0, 0)); len(busy) != 0 {
		t.Errorf("a rate without samples: %v", busy)
	}
	// Idle for ten seconds, then busy half of the time: only the last five samples count.
	for s := range 10 {
		l.note("p", 1, at(s, 0))
	}
	for s := range 5 {
		l.note("p", 1, at(10+s, time.Duration(s)*time.Second/2))
	}
	busy, waited := l.rates("p", 1, at(15, 2500*time.Millisecond))
	if busy[id] != 0.375 || waited[id] != 0.125 { // 2.5 s of 5 s at it, a quarter of which it waited
		t.Errorf("busy %v, waited %v", busy[id], waited[id])
	}
	if busy, _ := l.rates("p", 2, at(16, 0)); len(busy) != 0 {
		t.Errorf("another attempt has the rates of the old one: %v", busy)
	}
}
