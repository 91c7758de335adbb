package statefunfile

import (
	"strings"
	"testing"

	"github.com/weirstream/weir/platform/planner/pipelinefile"
)

const greeter = `kind: io.statefun.endpoints.v2/http
spec:
  functions: com.example/*
  urlPathTemplate: https://bar.foo.com:8080/{function.name}
  maxNumBatchRequests: 500
  transport:
    type: io.statefun.transports.v1/okhttp
    timeouts: {call: 2 min, connect: 20sec, read: 500millisecond}
---
kind: io.statefun.endpoints.v1/http
spec:
  functions: org.other/f
  urlPathTemplate: http://127.0.0.1:8000/
  timeouts: {call: 1minutes}
---
kind: io.weir.topic.v1/ingress
spec: {id: com.example/names, topic: names, valueType: io.statefun.types/string, wrap: true, targets: [com.example/person, org.other/f]}
---
kind: io.weir.topic.v1/egress
spec: {id: com.example/greets, topic: greets}
---
kind: io.statefun.playground.v1/egress
spec: {port: 8091, topics: [greetings]}
---
kind: io.statefun.playground.v1/ingress
spec: {port: 8090}
`

func TestAModuleFileBecomesAPipelineFile(t *testing.T) {
	got, problems := Convert([]byte(greeter), "greets")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := `pipeline: greets
functions:
    remote:
        - types: [com.example/*]
          url: https://bar.foo.com:8080/{function.name}
          max_batch: 500
          call_timeout: 2m
          connect_timeout: 20s
          read_timeout: 500ms
        - types: [org.other/f]
          url: http://127.0.0.1:8000/
          call_timeout: 1m
    ingress:
        - name: com-example-names
          topic: names
          to: [com.example/person, org.other/f]
          typename: io.statefun.types/string
          wrap: true
    egress:
        - id: com.example/greets
          topic: greets
        - id: io.statefun.playground/greetings
          topic: greetings
`
	if got.Text != want {
		t.Errorf("have\n%s\nwant\n%s", got.Text, want)
	}
	if len(got.Warnings) != 2 || len(got.Topics) != 1 {
		t.Errorf("%v %v", got.Warnings, got.Topics)
	}
	// What comes out is a pipeline file, to whoever reads those.
	if _, problems := pipelinefile.Parse([]byte(got.Text)); len(problems) > 0 {
		t.Error(problems)
	}
}

func TestWhatHasNoCounterpartIsRefusedByName(t *testing.T) {
	endpoint := "kind: io.statefun.endpoints.v2/http\nspec: {functions: a/*, urlPathTemplate: 'http://x/'}\n---\n"
	for text, want := range map[string]string{
		"kind: io.statefun.kafka.v1/ingress\nspec: {}\n":                "io.statefun.kafka.v1/ingress: there is no connector for it yet",
		"kind: io.statefun.kinesis.v1/egress\nspec: {}\n":               "io.statefun.kinesis.v1/egress",
		"kind: io.statefun.endpoint.v2/http\nspec: {}\n":                `did you mean "io.statefun.endpoints.v2/http"?`,
		"version: '3.0'\nmodule: {}\n":                                  "StateFun 3.0 or earlier",
		"kind: io.weir.topic.v1/egress\nspec: {id: a/b, topc: x}\n":     `unknown field "topc"`,
		"kind: io.weir.topic.v1/ingress\nspec: {topic: x}\n":            "needs topic, valueType and targets",
		"kind: io.statefun.endpoints.v2/http\nspec: {functions: '*'}\n": "bad address",
		"kind: x\n": "without kind or spec",
		"- a\n":     "no mapping",
		"kind: io.statefun.endpoints.v2/http\nspec: {transport: {call: soon}}\n": `"soon" is no duration`,
	} {
		got, problems := Convert([]byte(endpoint+text), "p")
		found := false
		for _, p := range problems {
			found = found || strings.Contains(p.Error(), want)
		}
		if got != nil || !found {
			t.Errorf("%q: %v, want %q", text, problems, want)
		}
	}
	if _, problems := Convert([]byte("kind: io.statefun.playground.v1/ingress\nspec: {port: 1}\n"), "p"); len(problems) != 1 {
		t.Error(problems)
	}
}

func FuzzConvert(f *testing.F) {
	f.Add([]byte(greeter))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, problems := Convert(b, "p"); (got == nil) == (len(problems) == 0) {
			t.Errorf("%v and %v", got, problems)
		}
	})
}
