package pipelinefile

import (
	"strings"
	"testing"
	"time"
)

const good = `
pipeline: flights
module: flights
parallelism: 2
checkpoint: {interval: 1s, retain: 2}
sources:
  flights:
    topic: flights
    format: json
    columns: departure:timestamp,origin:utf8,delay:int32
    event_time: {column: departure, lateness: 5m}
operators:
  alert:
    function: alert
    input: flights
    config: {limit: 3}
sinks:
  alerts:
    topic: alerts
    input: alert
    format: json
    key: origin
    guarantee: exactly_once
`

func TestAFileIsReadWithThePlaceOfEveryPart(t *testing.T) {
	f, problems := Parse([]byte(good))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if f.Name.Value != "flights" || f.Parallelism != 2 || f.Checkpoint.Interval != time.Second || f.Checkpoint.Retain != 2 {
		t.Fatalf("%+v", f)
	}
	s := f.Sources[0]
	if s.Topic.Value != "flights" || s.EventTime.Column.Value != "departure" || s.EventTime.Lateness != 5*time.Minute {
		t.Fatalf("%+v", s)
	}
	if s.Columns.Pos != (Pos{Line: 10, Column: 14}) {
		t.Fatalf("columns stand at %+v", s.Columns.Pos)
	}
	o := f.Operators[0]
	if o.Function.Value != "alert" || o.Inputs[0].From.Value != "flights" || string(o.Config) != `{"limit":3}` {
		t.Fatalf("%+v", o)
	}
	if f.Sinks[0].Guarantee.Value != "exactly_once" || f.Sinks[0].Key.Value != "origin" {
		t.Fatalf("%+v", f.Sinks[0])
	}
}

func TestEveryProblemHasItsPlaceAndAHint(t *testing.T) {
	cases := []struct{ name, old, new, want string }{
		{"an unknown field names the nearest", "    format: json\n    columns", "    fromat: json\n    columns", `line 9, column 5: unknown field "fromat" in source flights; did you mean "format"?`},
		{"a wrong choice names the nearest", "exactly_once", "exactly_one", `line 23, column 16: "exactly_one" is not one of exactly_once, at_least_once; did you mean "exactly_once"?`},
		{"a number out of range", "parallelism: 2", "parallelism: 0", `line 4, column 14: "0" is not a whole number of 1 to 256`},
		{"a backend that there is not", "parallelism: 2", "state: {backend: disc}", `line 4, column 18: "disc" is not one of memory, disk; did you mean "disk"?`},
		{"a field of state that there is not", "parallelism: 2", "state: {backends: disk}", `line 4, column 9: unknown field "backends" in state; did you mean "backend"?`},
		{"a word instead of the fields of state", "parallelism: 2", "state: disk", `line 4, column 8: state is a mapping of fields, found "disk"`},
		{"a duration without a unit", "interval: 1s", "interval: 1", `line 5, column 24: "1" is not a duration; write it like 500ms, 10s or 5m`},
		{"topic and file at once", "    topic: flights\n", "    topic: flights\n    file: x.jsonl\n", `line 8, column 5: source flights has both topic and file; keep one of them`},
		{"an operator without input", "    input: flights\n", "", `line 14, column 5: operator alert has no input; add input: NAME of a source or an operator`},
		{"a name twice", "  alert:\n", "  flights:\n", `line 13, column 3: the name "flights" stands twice; it stands first at line 7, column 3; choose another`},
		{"a field twice", "parallelism: 2", "parallelism: 2\nparallelism: 3", `line 5, column 1: field "parallelism" stands twice in a pipeline; keep one`},
		{"a bad name", "pipeline: flights", "pipeline: 1x", `line 2, column 11: "1x" cannot be a pipeline's name`},
		{"broken YAML", "sources:", "sources: [", `line`},
		{"no name", "pipeline: flights\n", "", `the field pipeline is missing`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(good, c.old, c.new, 1)
			if text == good {
				t.Fatal("the case changes nothing")
			}
			_, problems := Parse([]byte(text))
			if len(problems) == 0 {
				t.Fatal("no problem found")
			}
			if got := problems[0].Error(); !strings.Contains(got, c.want) {
				t.Fatalf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestColumnsMayBeAMapping(t *testing.T) {
	f, problems := Parse([]byte("pipeline: p\nsources:\n  s:\n    topic: t\n    columns:\n      a: int64\n      b: utf8?\n"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if got := f.Sources[0].Columns.Value; got != "a:int64,b:utf8?" {
		t.Fatal(got)
	}
}

const app = `
pipeline: shop
functions:
  modules: [shop, audit]
  parallelism: 3
  config: {com.example/cart: {limit: 3}}
  ingress:
    - {topic: orders, to: com.example/cart}
    - {name: again, topic: orders, to: [com.example/cart, com.example/audit], id: {field: order.no}, typename: com.example/order, start: latest, errors: fail}
  egress:
    - {id: com.example/bills, topic: bills, guarantee: at_least_once, options: {codec: zstd}}
`

func TestFunctionsAreRead(t *testing.T) {
	f, problems := Parse([]byte(app))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	fn := f.Functions
	if fn.Parallelism != 3 || len(fn.Modules) != 2 || fn.Modules[1].Value != "audit" || fn.Config[0].Type.Value != "com.example/cart" || string(fn.Config[0].Config) != `{"limit":3}` {
		t.Fatalf("%+v", fn)
	}
	if in := fn.Ingress[0]; in.Name.Value != "orders" || in.Field.Value != "" || len(in.To) != 1 || in.Pos != (Pos{Line: 8, Column: 7}) {
		t.Fatalf("%+v", in)
	}
	if in := fn.Ingress[1]; in.Name.Value != "again" || in.Field.Value != "order.no" || in.To[1].Value != "com.example/audit" || in.Errors != Fail {
		t.Fatalf("%+v", in)
	}
	if e := fn.Egress[0]; e.ID.Value != "com.example/bills" || e.Topic.Value != "bills" || e.Guarantee.Value != "at_least_once" || string(e.Options) != `{"codec":"zstd"}` {
		t.Fatalf("%+v", e)
	}
	for _, c := range []struct{ old, new, want string }{
		{"{name: again, topic", "{topic", `line 9, column 15: the ingress "orders" stands twice`},
		{"{field: order.no}", "order.no", `"order.no" is not where an id can come from; write id: key`},
		{"{field: order.no}", "{}", `id names no field`},
		{"topic: orders, to: com.example/cart}", "topic: orders}", "line 8, column 7: an ingress has no type to send to"},
		{"{id: com.example/bills, topic: bills,", "{id: com.example/bills,", "an egress has no topic"},
		{"{id: com.example/bills, ", "{", "an egress has no id"},
		{"topic: bills", "tpoic: bills", `unknown field "tpoic" in an egress; did you mean "topic"?`},
		{"config: {com.example/cart: {limit: 3}}", "config: 3", "config is a mapping from types"},
	} {
		text := strings.Replace(app, c.old, c.new, 1)
		if text == app {
			t.Fatal("the case changes nothing:", c.old)
		}
		_, problems := Parse([]byte(text))
		if len(problems) == 0 || !strings.Contains(problems[0].Error(), c.want) {
			t.Errorf("got  %v\nwant %s", problems, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(app))
	f.Add([]byte("a: &x [*x]"))
	f.Add([]byte("# nothing\n"))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, problems := Parse(b)
		if file == nil && len(problems) == 0 {
			t.Fatal("neither a file nor a problem")
		}
		for _, p := range problems {
			if p.Message == "" {
				t.Fatal("a problem without a message")
			}
		}
	})
}
