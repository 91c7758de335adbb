package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAModulesAssetsReachItsFunctionOnTheServerAndInARunWithoutOne(t *testing.T) {
	w := alone(t)
	weir := func(args ...string) (string, error) { return w.setup.Weir(t.Context(), nil, args...) }
	must := func(args ...string) string {
		t.Helper()
		out, err := weir(args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const pipeline = `pipeline: naming
module: naming.wasm
checkpoint: {interval: 100ms}
sources:
  in: {topic: naming-in, format: json, columns: "key:int64,value:int64,pad:utf8"}
operators:
  named: {function: named, input: in}
sinks:
  out: {topic: naming-out, input: named, format: json}
`
	guest, err := os.ReadFile(built.guest)
	if err != nil {
		t.Fatal(err)
	}
	module, file := write("naming.wasm", string(guest)), write("p.yaml", pipeline)
	records := write("in.jsonl", `{"key":0,"value":1,"pad":""}`+"\n"+`{"key":1,"value":1,"pad":""}`+"\n")

	must("topic", "create", "naming-in", "--partitions", "1")
	must("topic", "create", "naming-out", "--partitions", "1")
	must("module", "push", module)
	plain := must("module", "info", "naming", "-o", "json")
	must("module", "push", module, "--asset", "names.txt="+write("first.txt", "ada grace"))
	info := must("module", "info", "naming")
	if !strings.Contains(info, "names.txt (9 B)") {
		t.Errorf("module info does not show the asset:\n%s", info)
	}
	if digest(t, plain) == digest(t, must("module", "info", "naming", "-o", "json")) {
		t.Error("a bundle has the digest of its module alone")
	}
	if _, err := weir("module", "push", module, "--asset", "../up="+records); err == nil || !strings.Contains(err.Error(), "asset name") {
		t.Errorf("a bad name: %v", err)
	}

	// A run without a server, and apply, take the folder assets beside the module.
	if out, err := weir("run", file, "--input", "in="+records, "--output", "-"); err == nil || !strings.Contains(err.Error(), "--asset names.txt=FILE") {
		t.Errorf("without the asset: %v\n%s", err, out)
	}
	write("assets/names.txt", "joan karen")
	out := must("run", file, "--input", "in="+records, "--output", "-")
	if !strings.Contains(out, "joan") || !strings.Contains(out, "karen") {
		t.Errorf("the run gives %s", out)
	}
	must("pipeline", "apply", file)
	must("topic", "publish", "naming-in", "--file", records)
	shows := func(name string) {
		t.Helper()
		ctx := within(t, patience)
		for !strings.Contains(must("topic", "read", "naming-out", "--from", "start", "--until-end"), name) {
			if err := pause(ctx, pollEvery); err != nil {
				t.Fatalf("%s did not come out", name)
			}
		}
	}
	shows("karen")
	// Another asset is another version; a restart reads it back from its object.
	write("assets/names.txt", "mary dorothy")
	must("pipeline", "apply", file)
	w.process.Kill()
	if w.process, err = w.setup.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	must("topic", "publish", "naming-in", "--file", records)
	shows("dorothy")
}

func digest(t *testing.T, info string) string {
	t.Helper()
	_, after, ok := strings.Cut(info, "sha256:")
	if !ok || len(after) < 64 {
		t.Fatalf("no digest in %s", info)
	}
	return after[:64]
}
