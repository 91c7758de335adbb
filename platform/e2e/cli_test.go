package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheCommandLineDrivesAPipelineFromTopicToDeadLetter(t *testing.T) {
	w := alone(t)
	weir := func(stdin string, args ...string) string {
		t.Helper()
		out, err := w.setup.Weir(t.Context(), strings.NewReader(stdin), args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	weir("", "topic", "create", "shell-in", "--partitions", "2")
	weir("", "topic", "create", "shell-out", "--partitions", "2")
	weir("", "module", "push", built.count)
	file := filepath.Join(t.TempDir(), "p.yaml")
	const pipeline = `pipeline: shell
module: count_sum
checkpoint: {interval: 100ms}
sources:
  in: {topic: shell-in, format: json, columns: "key:int64,value:int64,pad:utf8"}
operators:
  sums: {function: count_sum, input: in}
sinks:
  out: {topic: shell-out, input: sums, format: json, key: key}
`
	if err := os.WriteFile(file, []byte(pipeline), 0o600); err != nil {
		t.Fatal(err)
	}
	weir("", "pipeline", "validate", file)
	weir("", "pipeline", "apply", file)
	weir(`{"key":1,"value":20,"pad":"a"}
{"key":1,"value":22,"pad":"b"}
`, "topic", "publish", "shell-in", "--file", "-")
	weir("no record\n", "topic", "publish", "shell-in", "--file", "-", "--format", "raw")
	// The second row of key 1 counts 2 and sums 42; it shows once a checkpoint is committed.
	ctx := within(t, patience)
	for !strings.Contains(weir("", "topic", "read", "shell-out", "--from", "start", "--until-end"), "42") {
		if err := pause(ctx, pollEvery); err != nil {
			t.Fatal("the sum did not come out")
		}
	}
	letters := w.letters(t, "shell", 1)
	if !strings.Contains(letters[0].Reason, "JSON") {
		t.Errorf("dead letter %v", letters[0])
	}
	for _, c := range [][]string{
		{"topic", "list", "-o", "json"},
		{"topic", "info", "shell-in", "-o", "json"},
		{"module", "list", "-o", "json"},
		{"module", "info", "count_sum", "-o", "json"},
		{"pipeline", "list", "-o", "json"},
		{"pipeline", "status", "shell", "-o", "json"},
		{"checkpoint", "list", "shell", "-o", "json"},
		{"deadletter", "list", "shell", "-o", "json"},
		{"doctor", "-o", "json"},
		{"version", "-o", "json"},
	} {
		out := weir("", c...)
		for dec := json.NewDecoder(strings.NewReader(out)); dec.More(); {
			var any json.RawMessage
			if err := dec.Decode(&any); err != nil {
				t.Errorf("weir %s printed no JSON: %v\n%s", strings.Join(c, " "), err, out)
				break
			}
		}
		if strings.TrimSpace(out) == "" {
			t.Errorf("weir %s printed nothing", strings.Join(c, " "))
		}
	}
	if _, err := w.setup.Weir(t.Context(), nil, "pipeline", "status", "shel"); err == nil || !strings.Contains(err.Error(), "hint:") {
		t.Errorf("a name that there is not: %v, want an exit code and a hint", err)
	}
	weir("", "pipeline", "stop", "shell")
	w.state(t, "shell", "stopped")
	weir("", "pipeline", "delete", "shell")
	weir("", "topic", "delete", "shell-in")
}
