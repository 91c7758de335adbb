package jobgraph

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const rowSchema = "k:utf8,v:int64"

// keyed is source -> keyed udf with state -> sink, with a side output to a second sink behind a durable edge.
func keyed() *Graph {
	return &Graph{
		Version: FormatVersion,
		Stages: []Stage{
			{ID: 0, Name: "in", Parallelism: 2, Operators: []Operator{
				{ID: "in", Kind: "source", Config: json.RawMessage(`{"topic":"t","from":"start"}`), Outputs: []string{rowSchema}},
			}},
			{ID: 1, Name: "count", Parallelism: 4, Operators: []Operator{
				{ID: "count", Kind: "udf", Inputs: []string{rowSchema}, Outputs: []string{rowSchema, "late:utf8"}, Key: [][]string{{"k"}},
					Upstream: []Port{{Operator: -1}}, State: []State{{Name: "n", Kind: "value", Form: "framed", Codec: "row", Value: "n:int64"}}},
				{ID: "out", Kind: "sink", Inputs: []string{rowSchema}, Upstream: []Port{{Operator: 0}}},
			}},
			{ID: 2, Name: "late", Parallelism: 1, Operators: []Operator{
				{ID: "late", Kind: "sink", Inputs: []string{"late:utf8"}, Upstream: []Port{{Operator: -1}}},
			}},
		},
		Edges: []Edge{
			{From: 0, To: 1, Partitioning: Hash, Key: []string{"k"}, Schema: rowSchema},
			{From: 1, Output: 1, To: 2, Partitioning: Rebalance, Schema: "late:utf8", Durable: true},
		},
	}
}

func TestAGoodGraphIsValid(t *testing.T) {
	if err := keyed().Validate(); err != nil {
		t.Fatal(err)
	}
	loop := keyed()
	loop.Edges = append(loop.Edges, Edge{From: 1, To: 1, Input: 0, Partitioning: Hash, Key: []string{"k"}, Schema: rowSchema, Feedback: true})
	if err := loop.Validate(); err != nil {
		t.Errorf("a feedback edge: %v", err)
	}
}

func TestEveryFaultOfAGraphIsNamed(t *testing.T) {
	for text, spoil := range map[string]func(*Graph){
		"has version 7":                      func(g *Graph) { g.Version = 7 },
		"has no stage":                       func(g *Graph) { g.Stages = nil },
		"has 257 stages":                     func(g *Graph) { g.Stages = make([]Stage, 257) },
		"has 1025 edges":                     func(g *Graph) { g.Edges = make([]Edge, 1025) },
		"has id 5":                           func(g *Graph) { g.Stages[1].ID = 5 },
		`has the name "in"`:                  func(g *Graph) { g.Stages[1].Name = "in" },
		"name of 0 bytes":                    func(g *Graph) { g.Stages[1].Name = "" },
		"has parallelism 0":                  func(g *Graph) { g.Stages[1].Parallelism = 0 },
		"has parallelism 257":                func(g *Graph) { g.Stages[1].Parallelism = 257 },
		"has 0 operators":                    func(g *Graph) { g.Stages[2].Operators = nil },
		"has the id of an operator of stage": func(g *Graph) { g.Stages[2].Operators[0].ID = "out" },
		"has no kind":                        func(g *Graph) { g.Stages[2].Operators[0].Kind = "" },
		"no JSON":                            func(g *Graph) { g.Stages[0].Operators[0].Config = []byte("{") },
		"config of 262146 bytes": func(g *Graph) {
			g.Stages[0].Operators[0].Config = []byte(`"` + strings.Repeat("x", MaxConfigBytes) + `"`)
		},
		"has 1 inputs and 0 upstream ports":                 func(g *Graph) { g.Stages[2].Operators[0].Upstream = nil },
		"does not stand before it":                          func(g *Graph) { g.Stages[1].Operators[0].Upstream[0].Operator = 1 },
		`reads output 9 of operator "count"`:                func(g *Graph) { g.Stages[1].Operators[1].Upstream[0].Output = 9 },
		"negative port":                                     func(g *Graph) { g.Stages[1].Operators[1].Upstream[0].Operator = -2 },
		"has keys for 2 of 1 inputs":                        func(g *Graph) { g.Stages[1].Operators[0].Key = [][]string{{"k"}, {"k"}} },
		`keeps its state in "attic"`:                        func(g *Graph) { g.Stages[1].Operators[0].Backend = "attic" },
		"has keyed state":                                   func(g *Graph) { g.Stages[1].Operators[0].Key = nil },
		"has two states":                                    func(g *Graph) { o := &g.Stages[1].Operators[0]; o.State = append(o.State, o.State[0]) },
		`has kind "pile"`:                                   func(g *Graph) { g.Stages[1].Operators[0].State[0].Kind = "pile" },
		`has form "soft"`:                                   func(g *Graph) { g.Stages[1].Operators[0].State[0].Form = "soft" },
		`renews its TTL on "tuesday"`:                       func(g *Graph) { g.Stages[1].Operators[0].State[0].TTLOn = "tuesday" },
		"has a negative number":                             func(g *Graph) { g.Stages[1].Operators[0].State[0].TTLMs = -1 },
		"goes from stage 0 to stage 9":                      func(g *Graph) { g.Edges[0].To = 9 },
		"leaves operator 3":                                 func(g *Graph) { g.Edges[0].Operator = 3 },
		"leaves output 3":                                   func(g *Graph) { g.Edges[0].Output = 3 },
		"enters input -1":                                   func(g *Graph) { g.Edges[0].Input = -1 },
		"carries":                                           func(g *Graph) { g.Edges[0].Schema = "x:utf8" },
		`has partitioning "magic"`:                          func(g *Graph) { g.Edges[1].Partitioning = "magic" },
		"0 key columns":                                     func(g *Graph) { g.Edges[0].Key = nil },
		"forwards 2 tasks to 4":                             func(g *Graph) { g.Edges[0].Partitioning, g.Edges[0].Key = Forward, nil },
		"stands twice":                                      func(g *Graph) { g.Edges = append(g.Edges, g.Edges[0]) },
		"input 0 is fed by an edge: false":                  func(g *Graph) { g.Edges = g.Edges[:1] },
		"input 1 is fed by an edge: true":                   func(g *Graph) { e := g.Edges[0]; e.Input = 1; g.Edges = append(g.Edges, e) },
		"is a feedback edge from stage 1 to 2 by rebalance": func(g *Graph) { g.Edges[1].Feedback = true },
		"is a feedback edge and durable": func(g *Graph) {
			g.Edges = append(g.Edges, Edge{From: 1, To: 1, Partitioning: Hash, Key: []string{"k"}, Schema: rowSchema, Feedback: true, Durable: true})
		},
		"is fed by feedback edges alone": func(g *Graph) {
			g.Edges[0] = Edge{From: 1, To: 1, Partitioning: Hash, Key: []string{"k"}, Schema: rowSchema, Feedback: true}
		},
		"is on, or behind, a cycle": func(g *Graph) {
			g.Edges = append(g.Edges, Edge{From: 1, To: 1, Partitioning: Hash, Key: []string{"k"}, Schema: rowSchema})
		},
	} {
		g := keyed()
		spoil(g)
		err := g.Validate()
		if !errors.Is(err, ErrInvalid) || !strings.Contains(fmt.Sprint(err), text) {
			t.Errorf("want %q, got %v", text, err)
		}
	}
}

func TestADurableEdgeEndsARegion(t *testing.T) {
	g := keyed()
	regions := g.Regions()
	if len(regions) != 2 || !slices.Equal(regions[0].Stages, []StageID{0, 1}) || !slices.Equal(regions[1].Stages, []StageID{2}) {
		t.Errorf("got %v", regions)
	}
	if of := g.RegionOf(); !slices.Equal(of, []int{0, 0, 1}) {
		t.Errorf("got %v", of)
	}
	g.Edges[1].Durable = false
	if n := len(g.Regions()); n != 1 {
		t.Errorf("%d regions without a durable edge", n)
	}
	if g.Slots() != 4 || g.Tasks() != 7 {
		t.Errorf("%d slots, %d tasks", g.Slots(), g.Tasks())
	}
}

func TestEqualGraphsHaveOneDigestHoweverTheirConfigIsWritten(t *testing.T) {
	a, b := keyed(), keyed()
	b.Stages[0].Operators[0].Config = json.RawMessage(" {\n\"from\": \"start\", \"topic\":\"t\"} ")
	x, err := a.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if y, _ := b.Digest(); x != y {
		t.Error("the order of keys changes the digest")
	}
	b.Stages[0].Operators[0].Config = json.RawMessage(`{"from":"end","topic":"t"}`)
	if y, _ := b.Digest(); x == y {
		t.Error("another config has the same digest")
	}
	back, err := ParseDigest(x.String())
	if err != nil || back != x {
		t.Errorf("%s came back as %s: %v", x, back, err)
	}
	for _, bad := range []string{"12", strings.ToUpper(x.String()[:63]) + "A", strings.Repeat("g", 64)} {
		if _, err := ParseDigest(bad); err == nil {
			t.Errorf("digest %q was taken", bad)
		}
	}
	encoded, err := Encode(a)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := Decode(encoded)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := Encode(decoded); string(again) != string(encoded) || decoded.Validate() != nil {
		t.Error("a graph does not survive its round trip")
	}
}

// The digest names graphs in stored manifests: it may not change from one version of Weir to the next.
func TestTheDigestOfAGraphIsForEver(t *testing.T) {
	g := &Graph{Version: 1, Stages: []Stage{{Name: "s", Parallelism: 1, Operators: []Operator{{ID: "o", Kind: "source", Config: json.RawMessage(`{"b":1.50,"a":"<é>"}`)}}}}}
	const text = `{"version":1,"stages":[{"id":0,"name":"s","parallelism":1,"operators":[{"id":"o","kind":"source","config":{"a":"<é>","b":1.50}}]}],"edges":[]}`
	b, err := Encode(g)
	if err != nil || string(b) != text {
		t.Fatalf("got %s: %v", b, err)
	}
	// Computed by sha256sum.
	if d, _ := g.Digest(); d.String() != "331a94b95a445c0427365ea25e210dec3b71115a8fdb70fc48037784f538bc62" {
		t.Errorf("got %s", d)
	}
}

func TestUnknownFieldsAndVersionsAreRefused(t *testing.T) {
	for _, text := range []string{`{"version":2}`, `{"version":1,"colour":1}`, `{"version":1}{}`, `[]`, ``, `{`} {
		if _, err := Decode([]byte(text)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestADiffSaysWhatStateIsKeptDroppedAndNew(t *testing.T) {
	from, to := keyed(), keyed()
	if changes := Diff(from, to); slices.ContainsFunc(changes, func(c Change) bool { return c.Fate != Kept }) || len(changes) != 5 {
		t.Errorf("equal graphs: %v", changes)
	}
	op := &to.Stages[1].Operators[0]
	op.State = append(op.State, State{Name: "m", Kind: "map", Codec: "row"})
	op.State[0].Value = "n:int64,sum:int64"
	op.State[0].TTLMs = 5
	to.Stages[2].Operators[0].ID = "later"
	to.Stages[0].Operators[0].Config = json.RawMessage(`{"topic":"other"}`)
	got := fmt.Sprint(Diff(from, to))
	want := "[{in  changed its config differs} {count  kept } {count n changed value was n:int64, is n:int64,sum:int64} {count m new } {out  kept } {later  new } {late  dropped }]"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	rekeyed := keyed()
	rekeyed.Stages[1].Operators[0].Key = [][]string{{"v"}}
	if got := fmt.Sprint(Diff(from, rekeyed)); !strings.Contains(got, "{count n changed key was [[k]], is [[v]]}") {
		t.Errorf("another key: %s", got)
	}
	wider := keyed()
	wider.Stages[1].Operators[0].Inputs = append(wider.Stages[1].Operators[0].Inputs, rowSchema)
	wider.Stages[1].Operators[0].Key = append(wider.Stages[1].Operators[0].Key, []string{"v"})
	if got := fmt.Sprint(Diff(from, wider)); !strings.Contains(got, "{count n kept }") {
		t.Errorf("another input behind the others: %s", got)
	}
	if Rekeyed(nil, nil) || !Rekeyed(nil, [][]string{{"k"}}) || !Rekeyed([][]string{{"k"}}, nil) {
		t.Error("a key that comes or goes is another key, none is not")
	}
	if got := Diff(nil, to); len(got) != 6 || got[0].Fate != New {
		t.Errorf("from nothing: %v", got)
	}
	moved := keyed()
	moved.Stages[1].Operators[0].State = nil
	if got := fmt.Sprint(Diff(from, moved)); !strings.Contains(got, "{count n dropped }") {
		t.Errorf("without its state: %s", got)
	}
}

func FuzzDecode(f *testing.F) {
	if b, err := Encode(keyed()); err == nil {
		f.Add(b)
	}
	f.Add([]byte(`{"version":1,"stages":[{"operators":[{"upstream":[{"operator":-1,"output":9}]}]}],"edges":[{"to":3}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := Decode(b)
		if err != nil {
			return
		}
		g.Regions()
		Diff(g, g)
		if g.Validate() != nil {
			return
		}
		once, err := Encode(g)
		if err != nil {
			t.Fatalf("a valid graph cannot be encoded: %v", err)
		}
		back, err := Decode(once)
		if err != nil {
			t.Fatal(err)
		}
		if twice, _ := Encode(back); string(twice) != string(once) {
			t.Fatalf("%s\n%s", once, twice)
		}
	})
}
