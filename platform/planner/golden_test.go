package planner_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/abi/manifest"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/planner"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// file is the world of testdata/world.json.
type file struct {
	topics  []string
	modules map[string]*manifest.Manifest
}

func readWorld(t *testing.T) *file {
	t.Helper()
	b, err := os.ReadFile("testdata/world.json")
	if err != nil {
		t.Fatal(err)
	}
	var raw struct {
		Topics  []string
		Modules map[string]json.RawMessage
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		t.Fatal(err)
	}
	w := &file{topics: raw.Topics, modules: map[string]*manifest.Manifest{}}
	for name, text := range raw.Modules {
		if w.modules[name], err = manifest.Parse(text); err != nil {
			t.Fatalf("module %s: %v", name, err)
		}
	}
	return w
}

func (w *file) Module(name string) (planner.Module, bool) {
	m, ok := w.modules[name]
	return planner.Module{Name: name, Digest: strings.Repeat("ab", 32), Manifest: m}, ok
}

func (w *file) ModuleNames() (names []string) {
	for name := range w.modules {
		names = append(names, name)
	}
	return names
}

func (w *file) Topic(name string) (jetstream.Topic, bool) {
	return jetstream.Topic{Namespace: "default", Name: name, Partitions: 4}, slices.Contains(w.topics, name)
}

func (w *file) HasSecret(name string) bool { return name == "nothing" }

func (w *file) TopicNames() []string { return w.topics }

func TestPlansAreAsTheGoldenFilesHaveThem(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no pipelines in testdata", err)
	}
	w := readWorld(t)
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := plan(t, text, w)
			golden := strings.TrimSuffix(name, ".yaml") + ".golden"
			if *rewrite {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s\nwrite it anew with -rewrite if the change is meant", got, want)
			}
		})
	}
}

// plan shows what a file comes to.
func plan(t *testing.T, text []byte, w planner.World) string {
	t.Helper()
	f, problems := pipelinefile.Parse(text)
	var p *planner.Plan
	if len(problems) == 0 {
		p, problems = planner.Make(f, w)
	}
	var b strings.Builder
	for _, problem := range problems {
		fmt.Fprintf(&b, "%v\n", problem)
	}
	if p == nil {
		return b.String()
	}
	if err := p.Graph.Validate(); err != nil {
		t.Error(err)
	}
	fmt.Fprintf(&b, "guarantee %s, reads %v, writes %v, dead letters %q, %d modules\n", p.Guarantee, p.Reads, p.Writes, p.DeadLetters, len(p.Modules))
	for _, warning := range p.Warnings {
		fmt.Fprintf(&b, "warning: %v\n", warning)
	}
	for i := range p.Graph.Stages {
		showStage(&b, &p.Graph.Stages[i])
	}
	for _, e := range p.Graph.Edges {
		kind := "edge"
		if e.Feedback {
			kind = "feedback edge"
		}
		fmt.Fprintf(&b, "%s %d.%d.%d -> %d.%d %s %s: %s\n", kind, e.From, e.Operator, e.Output, e.To, e.Input, e.Partitioning, strings.Join(e.Key, ","), e.Schema)
	}
	return b.String()
}

func showStage(b *strings.Builder, s *jobgraph.Stage) {
	fmt.Fprintf(b, "stage %d %s x%d\n", s.ID, s.Name, s.Parallelism)
	for i := range s.Operators {
		o := &s.Operators[i]
		fmt.Fprintf(b, "  %s: %s", o.ID, o.Kind)
		for n, up := range o.Upstream {
			from := fmt.Sprintf("input %d", up.Output)
			if up.Operator >= 0 {
				from = fmt.Sprintf("%s.%d", s.Operators[up.Operator].ID, up.Output)
			}
			fmt.Fprintf(b, "  [%s", from)
			if len(o.Key) > 0 {
				fmt.Fprintf(b, " by %s", strings.Join(o.Key[n], ","))
			}
			b.WriteString("]")
		}
		if o.Backend != jobgraph.InMemory {
			fmt.Fprintf(b, "  on %s", o.Backend)
		}
		fmt.Fprintf(b, "\n    config %s\n", o.Config)
		for n, out := range o.Outputs {
			fmt.Fprintf(b, "    output %d %s\n", n, out)
		}
		for _, st := range o.State {
			fmt.Fprintf(b, "    state %s %s %s %s", st.Name, st.Kind, st.Form, st.Codec)
			if st.Value != "" {
				fmt.Fprintf(b, " {%s} v%d", st.Value, st.Version)
			}
			if st.TTLMs > 0 {
				fmt.Fprintf(b, " for %d ms after %s", st.TTLMs, st.TTLOn)
			}
			b.WriteString("\n")
		}
	}
}

func TestOperatorsAreTheSameWhereverTheyStandInTheFile(t *testing.T) {
	w := readWorld(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	planned := 0
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, problems := pipelinefile.Parse(text)
		if len(problems) > 0 {
			continue
		}
		first, problems := planner.Make(f, w)
		if len(problems) > 0 {
			continue
		}
		planned++
		want := operators(first.Graph)
		for range 20 {
			r.Shuffle(len(f.Sources), func(i, j int) { f.Sources[i], f.Sources[j] = f.Sources[j], f.Sources[i] })
			r.Shuffle(len(f.Operators), func(i, j int) { f.Operators[i], f.Operators[j] = f.Operators[j], f.Operators[i] })
			r.Shuffle(len(f.Sinks), func(i, j int) { f.Sinks[i], f.Sinks[j] = f.Sinks[j], f.Sinks[i] })
			other, problems := planner.Make(f, w)
			if len(problems) > 0 {
				t.Fatalf("%s in another order: %v", name, problems)
			}
			if got := operators(other.Graph); !slices.Equal(got, want) {
				t.Fatalf("%s in another order has\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	}
	if planned < 5 {
		t.Fatalf("only %d of the files in testdata are good ones", planned)
	}
}

// operators lists everything about the operators and edges but where they stand.
func operators(g *jobgraph.Graph) (out []string) {
	id := func(s jobgraph.StageID, o int) string { return g.Stages[s].Operators[o].ID }
	for i := range g.Stages {
		s := &g.Stages[i]
		for j := range s.Operators {
			o := &s.Operators[j]
			text := fmt.Sprintf("%s %s %s x%d in %s: %v -> %v by %v, state %v", o.ID, o.Kind, o.Config, s.Parallelism, s.Operators[0].ID, o.Inputs, o.Outputs, o.Key, o.State)
			for _, up := range o.Upstream {
				if up.Operator >= 0 {
					text += fmt.Sprintf(" from %s.%d", s.Operators[up.Operator].ID, up.Output)
				}
			}
			out = append(out, text)
		}
	}
	for _, e := range g.Edges {
		out = append(out, fmt.Sprintf("%s.%d -> %s.%d %s %v", id(e.From, e.Operator), e.Output, id(e.To, 0), e.Input, e.Partitioning, e.Key))
	}
	slices.Sort(out)
	return out
}
