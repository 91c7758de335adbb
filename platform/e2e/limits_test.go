package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestANamespaceGetsNoMoreThanItsLimits(t *testing.T) {
	w := alone(t)
	weir := func(want string, args ...string) string {
		t.Helper()
		out, err := w.setup.Weir(t.Context(), nil, args...)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Fatalf("%v: %s, %v, want %q", args, out, err, want)
		}
		return out
	}
	folder := t.TempDir()
	pipeline := func(name string, parallelism int) string {
		file := filepath.Join(folder, name+".yaml")
		text := fmt.Sprintf(`pipeline: %s
parallelism: %d
sources:
  in: {topic: lines, format: json, columns: "text:utf8"}
sinks:
  out: {topic: kept, input: in}
`, name, parallelism)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	weir("", "namespace", "create", "team")
	weir("", "topic", "create", "lines", "--namespace", "team")
	weir("", "topic", "create", "kept", "--namespace", "team")
	weir("", "namespace", "limit", "team", "--slots", "3", "--pipelines", "2", "--bytes", "1KiB")
	apply := func(want, file string) { t.Helper(); weir(want, "pipeline", "apply", file, "--namespace", "team") }
	apply("", pipeline("a", 2))
	apply("namespace team would have 4 slots, and its limit is 3", pipeline("b", 2))
	apply("stop a pipeline or lower a parallelism, or have an admin raise it: weir namespace limit team --slots 4", pipeline("b", 2))
	apply("", pipeline("b", 1))
	apply("namespace team would have 3 pipelines, and its limit is 2", pipeline("c", 1))
	weir("bytes, and its limit is 1024", "module", "push", built.count, "--namespace", "team")

	// Others are not held to it, and the way out that the text names is one.
	weir("", "module", "push", built.count)
	weir("", "namespace", "limit", "team", "--slots", "4")
	apply("", pipeline("b", 2))
	if out := weir("", "namespace", "list"); !strings.Contains(out, "4/4") || !strings.Contains(out, "2/2") {
		t.Errorf("the list does not show what is used:\n%s", out)
	}
}

func TestANamespaceIsRefusedMemoryOfGuestsBeyondItsLimit(t *testing.T) {
	w := alone(t)
	weir := func(args ...string) {
		t.Helper()
		if out, err := w.setup.Weir(t.Context(), nil, args...); err != nil {
			t.Fatalf("%v: %s, %v", args, out, err)
		}
	}
	weir("topic", "create", "in", "--partitions", "1")
	weir("topic", "create", "out", "--partitions", "1")
	weir("module", "push", built.count)
	weir("namespace", "limit", "default", "--memory", "100MiB", "--guest-time", "0.5")
	apply := func(name string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "p.yaml")
		text := fmt.Sprintf(`pipeline: %s
module: count_sum
sources:
  in: {topic: in, format: json, columns: "key:int64,value:int64,pad:utf8"}
operators:
  sums: {function: count_sum, input: in}
sinks:
  out: {topic: out, input: sums, format: json, key: key}
`, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		weir("pipeline", "apply", file)
	}
	apply("first") // an instance may grow to 64 MiB
	w.state(t, "first", "running")
	apply("second")
	if failed := fmt.Sprint(w.state(t, "second", "failed")); !strings.Contains(failed, "needs 128MiB of guests' memory on this worker, and its limit is 100MiB") || !strings.Contains(failed, "weir namespace limit default --memory 128MiB") {
		t.Errorf("the failure does not name the limit and the way out: %s", failed)
	}
	// The way out is one, and reaches the worker while the other runs.
	weir("namespace", "limit", "default", "--memory", "128MiB")
	weir("pipeline", "stop", "second")
	weir("pipeline", "resume", "second")
	w.state(t, "second", "running")
	w.state(t, "first", "running")
}
