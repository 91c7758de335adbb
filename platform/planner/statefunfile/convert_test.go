package statefunfile

import (
	"slices"
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
kind: io.statefun.endpoints.v2/http
spec:
  functions: async.example/*
  urlPathTemplate: https://async/
  transport:
    type: io.statefun.transports.v1/async
    call: 90000
    pool_ttl: 15s
    pool_size: 1024
    payload_max_bytes: 33554432
    trust_cacerts: /etc/ca.pem
    client_cert: /etc/client.crt
    client_key: /etc/client.key
---
kind: io.statefun.endpoints.v2/http
spec: {functions: plain.example/f, urlPathTemplate: 'http+unix:///run/f.sock/{function.name}'}
---
kind: io.statefun.endpoints.v2/http
spec: {functions: nested.example/f, urlPathTemplate: http://nested/, transport: {timeouts: {connect: 1 day}}}
---
kind: io.statefun.endpoints.v1/http
spec:
  functions: org.other/f
  urlPathTemplate: http://127.0.0.1:8000/
  timeouts: {call: 1minutes, write: 3seconds}
---
kind: io.weir.topic.v1/ingress
spec: {id: com.example/names, topic: names, start: latest, valueType: io.statefun.types/string, wrap: true, targets: [com.example/person, org.other/f]}
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
        - types: [async.example/*]
          url: https://async/
          call_timeout: 90000ms
          connect_timeout: 20s
          write_timeout: 90000ms
          read_timeout: 90000ms
          tls: {ca_file: /etc/ca.pem, cert_file: /etc/client.crt, key_file: /etc/client.key}
        - types: [plain.example/f]
          url: http+unix:///run/f.sock/{function.name}
          call_timeout: 2m
          connect_timeout: 20s
          write_timeout: 2m
          read_timeout: 2m
        - types: [nested.example/f]
          url: http://nested/
          call_timeout: 1m
          connect_timeout: 24h
          write_timeout: 1m
          read_timeout: 1m
        - types: [org.other/f]
          url: http://127.0.0.1:8000/
          call_timeout: 1m
          write_timeout: 3s
    ingress:
        - name: com-example-names
          topic: names
          to: [com.example/person, org.other/f]
          typename: io.statefun.types/string
          wrap: true
          start: latest
    egress:
        - id: com.example/greets
          topic: greets
        - id: io.statefun.playground/greetings
          topic: greetings
`
	if got.Text != want {
		t.Errorf("have\n%s\nwant\n%s", got.Text, want)
	}
	var warned []string
	for _, w := range got.Warnings {
		warned = append(warned, strings.Fields(w.Message)[0])
	}
	if want := []string{"pool_ttl", "pool_size", "payload_max_bytes", "no", "no"}; !slices.Equal(warned, want) || len(got.Topics) != 1 {
		t.Errorf("%v %v", got.Warnings, got.Topics)
	}
	// What comes out is a pipeline file, to whoever reads those.
	if _, problems := pipelinefile.Parse([]byte(got.Text)); len(problems) > 0 {
		t.Error(problems)
	}
}

func TestWhatHasNoCounterpartIsRefusedByName(t *testing.T) {
	endpoint := "kind: io.statefun.endpoints.v2/http\nspec: {functions: a/*, urlPathTemplate: 'http://x/'}\n---\n"
	kafka := "kind: io.statefun.kafka.v1/ingress\nspec: {address: k, topics: [{topic: names, valueType: a/Name, targets: [a/b, a/c]}]}\n"
	v2 := func(spec string) string {
		return "kind: io.statefun.endpoints.v2/http\nspec: {functions: b/*, urlPathTemplate: 'https://x/', " + spec + "}\n"
	}
	in := func(spec string) string { return "kind: io.weir.topic.v1/ingress\nspec: {" + spec + "}\n" }
	for text, want := range map[string]string{
		kafka: "line 4, column 7: io.statefun.kafka.v1/ingress: the Kafka connector is not built yet; bring the records through a topic of Weir: " +
			"kind: io.weir.topic.v1/ingress, spec: {topic: names, valueType: a/Name, targets: [a/b, a/c]}",
		"kind: io.statefun.kafka.v1/ingress\nspec: {}\n":                                         "spec: {topic: NAME, valueType: TYPE, targets: [NAMESPACE/NAME]}",
		"kind: io.statefun.kafka.v1/egress\nspec: {id: a/out}\n":                                 "kind: io.weir.topic.v1/egress, spec: {id: a/out, topic: NAME}",
		"kind: io.statefun.kinesis.v1/egress\nspec: []\n":                                        "the Kinesis connector is not built yet",
		"kind: io.statefun.kinesis.v1/ingress\nspec: {streams: [{stream: s, targets: {}}, 1]}\n": "{topic: s, valueType: TYPE, targets: [NAMESPACE/NAME]}",
		"kind: io.statefun.endpoint.v2/http\nspec: {}\n":                                         `did you mean "io.statefun.endpoints.v2/http"?`,
		"version: '3.0'\nmodule: {}\n":                                                           "StateFun 3.0 or earlier",
		"kind: io.weir.topic.v1/egress\nspec: {id: a/b, topc: x}\n":                              `line 5, column 17: unknown field "topc" in io.weir.topic.v1/egress; did you mean "topic"?`,
		"kind: io.weir.topic.v1/egress\nspec: {id: a, topic: x}\n":                               "an egress is named like a type",
		"kind: io.weir.topic.v1/egress\nspec: {id: a/b, id: c/d}\n":                              `"id" stands twice`,
		"kind: io.weir.topic.v1/egress\nspec: {id: [a], topic: x}\n":                             "a text is wanted",
		in("topic: x"): "needs topic, valueType and targets",
		in("topic: x, valueType: t, targets: a/b"):                                                                       "a list is wanted here",
		in("topic: x, valueType: t, targets: [a/*]"):                                                                     "bad address",
		in("topic: x, valueType: t, targets: [a/b], wrap: maybe"):                                                        "neither true nor false",
		in("topic: x, valueType: t, targets: [a/b], start: earlyest"):                                                    `did you mean "earliest"?`,
		in("id: '!', topic: x, valueType: t, targets: [a/b]"):                                                            "cannot be the id",
		in("topic: x, valueType: t, targets: [a/b]") + "---\n" + in("topic: x, valueType: t, targets: [a/b]"):            `the ingress "x" stands twice`,
		"kind: io.statefun.endpoints.v2/http\nspec: {functions: '*'}\n":                                                  "bad address",
		"kind: io.statefun.endpoints.v2/http\nspec: {functions: a/*, urlPathTemplate: 'http://y/'}\n":                    `functions "a/*" stands in line 2 already`,
		"kind: io.statefun.endpoints.v2/http\nspec: {functions: b/*, urlPathTemplate: 'http://{function.namespace}/'}\n": "line 5, column 41: bad endpoint",
		"kind: x\n":                             "without kind or spec",
		"- a\n":                                 "no mapping",
		v2("transport: {call: soon}"):           `"soon" is no duration`,
		v2("transport: {timeouts: {call: 0s}}"): "not between a millisecond",
		v2("transport: {timeouts: {call: 9999999999s}}"):         "not between a millisecond",
		v2("maxNumBatchRequests: 0"):                             "no number from 1",
		v2("transport: {type: io.statefun.transports.v1/asinc}"): `did you mean "io.statefun.transports.v1/async"?`,
		v2("transport: {trust_cacerts: 'classpath:ca.pem'}"):     "no classpath",
		v2("transport: {client_cert: /c, client_key: ~/k}"):      "home",
		v2("transport: {client_cert: /c}"):                       "stand together",
		v2("transport: {client_key_password: /p}"):               "keys with a password",
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

func TestWhatIsLeftOutIsSaid(t *testing.T) {
	got, problems := Convert([]byte("kind: io.statefun.endpoints/http\nspec: &s {functions: a/*, urlPathTemplate: 'http://x/', maxRetries: 5, timeout: {}}\nmore: *s\n"), "p")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var said []string
	for _, w := range got.Warnings {
		said = append(said, w.Error())
	}
	want := []string{
		`line 3, column 1: field "more" of a document has no meaning here and is left out`,
		`line 2, column 57: field "maxRetries" of an endpoint has no meaning here and is left out`,
		`line 2, column 72: field "timeout" of an endpoint has no meaning here and is left out; did you mean "timeouts"?`,
	}
	if !slices.Equal(said, want) {
		t.Errorf("%q\nwant %q", said, want)
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
