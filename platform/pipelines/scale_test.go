package pipelines

import (
	"maps"
	"strings"
	"testing"

	"github.com/weirstream/weir/platform/planner"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
)

func TestFunctionsAreRescaledTogetherAndIngressesByThemselves(t *testing.T) {
	f, problems := pipelinefile.Parse([]byte("pipeline: p\nparallelism: 2\nfunctions:\n  modules: m\n  ingress: [{topic: t, to: a/count}]\n"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	now, problems := planner.Make(f, types{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for operator, want := range map[string]planner.Scale{
		"":                     {"functions": 5, "functions.ingress.t": 5},
		planner.FunctionsStage: {"functions": 5, "functions.ingress.t": 2},
		planner.IngressID("t"): {"functions": 2, "functions.ingress.t": 5},
	} {
		scale, _, err := scaleTo(f, now.Graph, 5, operator)
		if err != nil || !maps.Equal(scale, want) {
			t.Errorf("%q: %v, %v, want %v", operator, scale, err, want)
			continue
		}
		p, problems := planner.MakeScaled(f, types{}, scale)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		for i := range p.Graph.Stages {
			s := &p.Graph.Stages[i]
			if n, ok := want[s.Name]; ok && s.Parallelism != n {
				t.Errorf("%q: stage %s runs at %d, want %d", operator, s.Name, s.Parallelism, n)
			}
		}
	}
	if _, _, err := scaleTo(f, now.Graph, 5, "a/count"); err == nil || !strings.Contains(err.Error(), `no operator "a/count"`) {
		t.Errorf("one type alone: %v", err)
	}
}
