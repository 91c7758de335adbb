package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Lists, structs and maps go as columns from JSON into a guest of the Go SDK and
// back, in a run without a server and through topics of a server.
func TestNestedColumnsGoThroughAGoGuest(t *testing.T) {
	w := alone(t)
	weir := func(args ...string) string {
		t.Helper()
		out, err := w.setup.Weir(t.Context(), nil, args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const columns = "id:int64,stops:list<struct<name:utf8,lat:float64?>>,home:struct<name:utf8,lat:float64?>?,tags:list<utf8>?,costs:map<utf8,float64>"
	guest, err := os.ReadFile(built.guest)
	if err != nil {
		t.Fatal(err)
	}
	write("trips.wasm", string(guest))
	file := write("p.yaml", `pipeline: trips
module: trips.wasm
checkpoint: {interval: 100ms}
sources:
  in: {topic: trips-in, format: json, columns: "`+columns+`"}
operators:
  nest: {function: nest, input: in}
sinks:
  out: {topic: trips-out, input: nest, format: json}
`)
	records := write("in.jsonl", `{"id":1,"stops":[{"name":"Bern","lat":46.9},{"name":"Zug"}],"home":{"name":"ulm","lat":48.4},"tags":["a",""],"costs":{"EUR":1.5,"CHF":2}}
{"id":2,"stops":[],"tags":[],"costs":{}}
`)
	// Maps go in order of their keys; what is null is left out or null, as the format has it.
	want := []string{
		`{"id":1,"stops":[{"name":"start","lat":null},{"name":"Bern","lat":46.9},{"name":"Zug","lat":null}],"home":{"name":"ULM","lat":48.4},"tags":["a",""],"costs":{"CHF":4,"EUR":3}}`,
		`{"id":2,"stops":[{"name":"start","lat":null}],"home":null,"tags":[],"costs":{}}`,
	}
	lines := func(text string) []string {
		out := strings.Split(strings.TrimSpace(text), "\n")
		slices.Sort(out)
		return out
	}
	if got := lines(weir("run", file, "--input", "in="+records, "--output", "-")); !slices.Equal(got, want) {
		t.Errorf("a run gives\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	weir("topic", "create", "trips-in", "--partitions", "1")
	weir("topic", "create", "trips-out", "--partitions", "1")
	weir("pipeline", "apply", file)
	weir("topic", "publish", "trips-in", "--file", records)
	ctx := within(t, patience)
	for {
		out := weir("topic", "read", "trips-out", "--from", "start", "--until-end")
		if strings.Contains(out, want[0]) && strings.Contains(out, want[1]) {
			break
		}
		if err := pause(ctx, pollEvery); err != nil {
			t.Fatalf("the topic has\n%s", out)
		}
	}
}
