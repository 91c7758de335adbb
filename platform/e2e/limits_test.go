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
