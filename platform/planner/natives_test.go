package planner

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weirstream/weir/abi/manifest"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// oneModule is a world with every topic and the module m.
type oneModule struct{ manifest *manifest.Manifest }

func (w oneModule) Module(name string) (Module, bool) {
	return Module{Name: "m", Digest: "sha256:" + strings.Repeat("0", 64), Manifest: w.manifest}, name == "m"
}
func (w oneModule) ModuleNames() []string { return []string{"m"} }
func (w oneModule) Topic(name string) (jetstream.Topic, bool) {
	return jetstream.Topic{Name: name}, true
}
func (w oneModule) HasSecret(string) bool { return false }

func (w oneModule) TopicNames() []string { return nil }

const sumsManifest = `{"abi":{"major":1,"minor":0},"requires":[%s],"functions":[{"name":"sums",
 "inputs":[{"name":"in","columns":"k:utf8,v:int64,f:float64?","key":["k"]}],
 "outputs":[{"name":"out","columns":"k:utf8,total:int64"}]}]}`

// world has a function that wants an int64 and a nullable float64 by the key k.
func world(t *testing.T, requires string) World {
	t.Helper()
	m, err := manifest.Parse([]byte(fmt.Sprintf(sumsManifest, requires)))
	if err != nil {
		t.Fatal(err)
	}
	return oneModule{m}
}

func plan(t *testing.T, w World, sources, operators, sink string) (*Plan, []pipelinefile.Problem) {
	t.Helper()
	f, problems := pipelinefile.Parse([]byte(fmt.Sprintf(`
pipeline: p
parallelism: 2
errors: fail
sources:
%s
operators:
%s
sinks:
  out: {topic: out, format: json, input: %s}
`, sources, operators, sink)))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return Make(f, w)
}

const rowsSource = `  rows: {topic: rows, format: json, columns: "k:utf8,v:int32,f:float32,other:bool"}`

func TestAProjectionWidensTheColumnsInFrontOfAFunction(t *testing.T) {
	p, problems := plan(t, world(t, ""), rowsSource, `  sums: {module: m, function: sums, input: rows}`, "sums")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	source := p.Graph.Stages[0]
	if len(source.Operators) != 2 {
		t.Fatalf("the source's stage has %d operators, want the projection chained to it", len(source.Operators))
	}
	cast := source.Operators[1]
	if cast.ID != "cast.sums.0" || cast.Kind != "project" || cast.Outputs[0] != "k:utf8,v:int64,f:float64?,other:bool" {
		t.Errorf("the projection is %s of kind %s and gives %s", cast.ID, cast.Kind, cast.Outputs)
	}
	if e := p.Graph.Edges[0]; e.Operator != 1 || e.Partitioning != jobgraph.Hash || e.Schema != cast.Outputs[0] {
		t.Errorf("the edge is %+v", e)
	}
	if _, sums, ok := p.Graph.Operator("sums"); !ok || sums.Inputs[0] != cast.Outputs[0] {
		t.Error("the function does not take what the projection gives")
	}
}

func TestColumnsThatFitNeedNoProjection(t *testing.T) {
	p, problems := plan(t, world(t, ""), `  rows: {topic: rows, format: json, columns: "k:utf8,v:int64,f:float64"}`, `  sums: {module: m, function: sums, input: rows}`, "sums")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if n := len(p.Graph.Stages[0].Operators); n != 1 {
		t.Errorf("the source's stage has %d operators", n)
	}
}

func TestProblemsOfNativeOperatorsHaveAPlaceAndAHint(t *testing.T) {
	const sums = `  sums: {module: m, function: sums, input: counts}`
	const counts = `  counts: {kind: aggregate, input: rows, key: [k], config: {emit: changelog, aggregates: [{fn: count, as: v}, {fn: avg, column: f, as: f}]}}` + "\n"
	for _, c := range []struct{ operators, sink, message, hint string }{
		{`  counts: {kind: agregate, input: rows}`, "counts", `no operator kind "agregate"`, "aggregate"},
		{`  counts: {kind: aggregate, input: rows, config: {aggregates: [{fn: count, as: n}]}}`, "counts", "operator counts: an aggregate is kept per key", "add key:"},
		{`  few: {kind: project, input: rows, config: {columns: [{column: v, cast: int8}]}}`, "few", "cannot be cast to int8 without loss", "only widens"},
		{`  both: {kind: join, inputs: {left: rows, right: rows}, key: [k]}`, "both", "have no names", "inputs: [a, b]"},
		{counts, "counts", "sink out would write the changes of counts", "kind_column"},
		{counts + sums, "sums", "function sums does not read what kind of change a row is", "emit updates"},
		{`  few: {kind: project, input: rows, config: {columns: [k, {column: v, as: f}, {column: f, as: v}]}}` + "\n" + `  sums: {module: m, function: sums, input: few}`, "sums", "wants the column v as int64, few has it as float32", "declare the column"},
	} {
		_, problems := plan(t, world(t, ""), rowsSource, c.operators, c.sink)
		if len(problems) == 0 || !strings.Contains(problems[0].Message, c.message) || !strings.Contains(problems[0].Hint, c.hint) || problems[0].Pos.Line < 5 {
			t.Errorf("%s: problems %v, want %q and %q", c.operators, problems, c.message, c.hint)
		}
	}
}

func TestAFunctionThatReadsChangesTakesAndGivesThem(t *testing.T) {
	operators := `  counts: {kind: aggregate, input: rows, key: [k], config: {emit: changelog, aggregates: [{fn: count, as: v}, {fn: avg, column: f, as: f}]}}
  sums: {module: m, function: sums, input: counts}
  out: {kind: project, input: sums, config: {kind_column: op}}`
	if _, problems := plan(t, world(t, `"changelog"`), rowsSource, operators, "out"); len(problems) > 0 {
		t.Error(problems)
	}
	if _, problems := plan(t, world(t, `"changelog"`), rowsSource, operators, "sums"); len(problems) != 1 {
		t.Errorf("problems %v, want that the sink loses the kinds", problems)
	}
}

func TestRetractionsReachTheStateThatTheyNeed(t *testing.T) {
	p, problems := plan(t, world(t, ""), rowsSource, `  counts: {kind: aggregate, input: rows, key: [k], config: {emit: changelog, aggregates: [{fn: count, as: n}]}}
  narrow: {kind: project, input: counts, config: {where: [{column: n, op: ">", value: 1}]}}
  best: {kind: aggregate, input: narrow, key: [n], config: {aggregates: [{fn: max, column: k, as: last}]}}
  flat: {kind: aggregate, input: rows, key: [k], config: {aggregates: [{fn: max, column: v, as: most}]}}`, "best")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	states := func(id string) (hosted int) {
		_, op, _ := p.Graph.Operator(id)
		for _, s := range op.State {
			if s.Form == "hosted" {
				hosted++
			}
		}
		return hosted
	}
	if states("best") != 1 || states("flat") != 0 {
		t.Errorf("maps: %d over a changelog, %d over inserts", states("best"), states("flat"))
	}
}
