package server

import (
	"bytes"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/api/weir/v1/weirv1connect"
	"github.com/weirstream/weir/platform/cli"
)

// weir runs a client command against a server.
func weir(t *testing.T, url string, args ...string) (stdout, stderr string, exit int) {
	t.Helper()
	var out, err bytes.Buffer
	env := cli.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &err, Getenv: func(string) string { return "" }}
	exit = cli.Main(t.Context(), append([]string{"--server", url}, args...), env)
	return out.String(), err.String(), exit
}

// Five records: key 1 has 10, 20 and 30, key -7 has 5 and -6.
func TestStateOfARunningPipelineIsReadFromItsCheckpointsAndSavepoints(t *testing.T) {
	ctx := t.Context()
	s, err := Start(ctx, Options{DataDir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	topics := weirv1connect.NewTopicServiceClient(http.DefaultClient, s.URL())
	pipelines := weirv1connect.NewPipelineServiceClient(http.DefaultClient, s.URL())
	savepoints := weirv1connect.NewSavepointServiceClient(http.DefaultClient, s.URL())
	wasm, err := os.ReadFile("../../sdk/c/bench/count_sum.wasm")
	must(err)
	_, err = weirv1connect.NewModuleServiceClient(http.DefaultClient, s.URL()).PushModule(ctx, connect.NewRequest(&weirv1.PushModuleRequest{Name: "count_sum", Wasm: wasm}))
	must(err)
	for _, name := range []string{"in", "out"} {
		_, err := topics.CreateTopic(ctx, connect.NewRequest(&weirv1.CreateTopicRequest{Name: name, Partitions: 2}))
		must(err)
	}
	_, err = pipelines.ApplyPipeline(ctx, connect.NewRequest(&weirv1.ApplyPipelineRequest{File: `
pipeline: sums
module: count_sum
checkpoint: {interval: 100ms}
sources:
  in: {topic: in, format: json, columns: "key:int64,value:int64,pad:utf8"}
operators:
  sums: {function: count_sum, input: in}
sinks:
  out: {topic: out, input: sums, format: json, key: key}
`}))
	must(err)
	publish := func(seen uint64, records ...string) { // and wait until their output is visible, so their checkpoint is committed
		t.Helper()
		var list []*weirv1.Record
		for _, r := range records {
			list = append(list, &weirv1.Record{Value: []byte(r)})
		}
		_, err := topics.Publish(ctx, connect.NewRequest(&weirv1.PublishRequest{Topic: "in", Records: list}))
		must(err)
		stream, err := topics.Read(ctx, connect.NewRequest(&weirv1.ReadRequest{Topic: "out", From: &weirv1.ReadRequest_Start{Start: true}, Limit: seen}))
		must(err)
		for stream.Receive() {
		}
		must(stream.Err())
		must(stream.Close())
	}
	publish(2, `{"key":1,"value":10,"pad":"x"}`, `{"key":1,"value":20,"pad":"x"}`)
	made, err := savepoints.CreateSavepoint(ctx, connect.NewRequest(&weirv1.CreateSavepointRequest{Pipeline: "sums"}))
	must(err)
	id := made.Msg.Savepoint.Id
	publish(5, `{"key":1,"value":30,"pad":"x"}`, `{"key":-7,"value":5,"pad":"x"}`, `{"key":-7,"value":-6,"pad":"x"}`)

	for _, c := range []struct {
		args []string
		want []string // in the output
		exit int
	}{
		{[]string{"state", "get", "sums", "sums", "1"}, []string{"read from  checkpoint ", "key:int64", "total", `{"count":3,"sum":60}`}, cli.ExitOK},
		{[]string{"state", "get", "sums", "sums", "--", "-7"}, []string{`{"count":2,"sum":-1}`}, cli.ExitOK},
		{[]string{"state", "get", "sums", "sums", "[1]", "--state", "total", "-o", "json"}, []string{`"sum": 60`, `"savepoint": null`, `"kind": "value"`, `"revision": 1`}, cli.ExitOK},
		{[]string{"state", "get", "sums", "sums", "1", "--savepoint", id}, []string{"read from  savepoint " + id + " (checkpoint ", `{"count":2,"sum":30}`}, cli.ExitOK},
		{[]string{"state", "dump", "sums", "sums", "-o", "json"}, []string{`"key":1,"state":"total","kind":"value","entry":null,"value":{"count":3,"sum":60}}`, `"key":-7,"state":"total","kind":"value","entry":null,"value":{"count":2,"sum":-1}}`}, cli.ExitOK},
		{[]string{"state", "dump", "sums", "sums"}, []string{"KEY", "STATE", `{"count":2,"sum":-1}`}, cli.ExitOK},
		{[]string{"state", "dump", "sums", "sums", "-n", "1"}, []string{"there are more than these 1 entries"}, cli.ExitOK},
		{[]string{"state", "dump", "sums", "sums", "--state", "$timers"}, []string{"it holds nothing"}, cli.ExitOK},
		{[]string{"state", "dump", "sums", "sums", "-n", "2000000"}, []string{"at most 1000000"}, cli.ExitRefused},

		{[]string{"state", "get", "sums", "sums", "2"}, []string{`key "2" has no state in operator sums of checkpoint `, "weir state dump sums sums"}, cli.ExitNotFound},
		{[]string{"state", "get", "sums", "sums", "--savepoint", id, "--", "-7"}, []string{"of savepoint " + id}, cli.ExitNotFound},
		{[]string{"state", "get", "sums", "sums", "ann"}, []string{"column key", "int64", "the key is key:int64"}, cli.ExitRefused},
		{[]string{"state", "get", "sum", "sums", "1"}, []string{`no such pipeline`, "did you mean sums?"}, cli.ExitNotFound},
		{[]string{"state", "get", "sums", "smus", "1"}, []string{`no operator "smus"`, "did you mean sums?"}, cli.ExitNotFound},
		{[]string{"state", "get", "sums", "in", "1"}, []string{"operator in has no keyed state", "there are sums"}, cli.ExitRefused},
		{[]string{"state", "get", "sums", "sums", "1", "--state", "totl"}, []string{`no state "totl"`, "did you mean total?", "$timers"}, cli.ExitNotFound},
		{[]string{"state", "get", "sums", "sums", "1", "--checkpoint", "999999"}, []string{"it is not kept", "kept are "}, cli.ExitNotFound},
		{[]string{"state", "get", "sums", "sums", "1", "--savepoint", "s99"}, []string{`"s99"`, "weir savepoint list"}, cli.ExitNotFound},
		{[]string{"state", "get", "other", "sums", "1", "--savepoint", id}, []string{"it is of pipeline sums"}, cli.ExitRefused},
		{[]string{"state", "get", "sums", "sums", "1", "--savepoint", id, "--checkpoint", "1"}, []string{"exclude each other"}, cli.ExitUsage},
		{[]string{"state", "get", "sums", "sums", "1", "--live"}, []string{"reads are of the last checkpoint", "weir savepoint create sums"}, cli.ExitUsage},
	} {
		out, errs, exit := weir(t, s.URL(), c.args...)
		if exit != c.exit {
			t.Errorf("%v: exit code %d, want %d\n%s%s", c.args, exit, c.exit, out, errs)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(out+errs, w) {
				t.Errorf("%v: %q is not in\n%s%s", c.args, w, out, errs)
			}
		}
	}
	list, err := pipelines.ListCheckpoints(ctx, connect.NewRequest(&weirv1.ListCheckpointsRequest{Name: "sums"}))
	must(err)
	last := strconv.FormatUint(list.Msg.Checkpoints[0].Id, 10)
	out, errs, exit := weir(t, s.URL(), "state", "get", "sums", "sums", "1", "--checkpoint", last)
	if exit != cli.ExitOK || !strings.Contains(out, "checkpoint "+last+" of revision 1") || !strings.Contains(out, `"sum":60`) {
		t.Errorf("checkpoint %s: exit code %d\n%s%s", last, exit, out, errs)
	}
}

// The savepoint that is kept for ever has four visits: ann's pages 7, 9, 7 and bob's
// page 8, each with a timer an hour behind it. Its module is not here.
func TestMapsListsAndTimersOfAnImportedSavepointAreShown(t *testing.T) {
	s, err := Start(t.Context(), Options{DataDir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, errs, exit := weir(t, s.URL(), "savepoint", "import", "../savepoints/testdata/golden-v1/savepoint.tar")
	if exit != cli.ExitOK {
		t.Fatal(errs)
	}
	out, errs, exit := weir(t, s.URL(), "state", "dump", "golden", "visits", "--savepoint", "s1", "-o", "json")
	if exit != cli.ExitOK {
		t.Fatal(errs)
	}
	const at = `{"checkpoint":3,"savepoint":"s1","key":`
	want := []string{
		`"ann","state":"history","kind":"list","entry":null,"value":[7,9,7]}`,
		`"ann","state":"pages","kind":"map","entry":7,"value":2}`,
		`"ann","state":"pages","kind":"map","entry":9,"value":1}`,
		`"ann","state":"$timers","kind":"timer","entry":"#0","value":null,"clock":"event_time","due":"2026-01-05T11:00:00Z"}`,
		`"ann","state":"$timers","kind":"timer","entry":"#0","value":null,"clock":"event_time","due":"2026-01-05T11:01:00Z"}`,
		`"ann","state":"$timers","kind":"timer","entry":"#0","value":null,"clock":"event_time","due":"2026-01-05T11:02:00Z"}`,
		`"bob","state":"history","kind":"list","entry":null,"value":[8]}`,
		`"bob","state":"pages","kind":"map","entry":8,"value":1}`,
		`"bob","state":"$timers","kind":"timer","entry":"#0","value":null,"clock":"event_time","due":"2026-01-05T11:00:10Z"}`,
		`"ann","state":"seen","kind":"value","entry":null,"value":{"visits":3}}`,
		`"bob","state":"seen","kind":"value","entry":null,"value":{"visits":1}}`,
	}
	for _, line := range want {
		if !strings.Contains(out, at+line+"\n") {
			t.Errorf("%s is not in\n%s", line, out)
		}
	}
	if n := strings.Count(out, "\n"); n != len(want) {
		t.Errorf("%d entries, want %d", n, len(want))
	}
}
