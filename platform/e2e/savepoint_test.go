package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// savedPipeline counts by key; its name, parallelism and operator are open.
const savedPipeline = `pipeline: %s
module: count
parallelism: %d
checkpoint: {interval: 200ms, min_pause: 20ms}
sources:
  in: {topic: saved-in, format: columns, columns: "key:int64,value:int64,pad:utf8"}
operators:
  %s: {function: count_sum, input: in}
sinks:
  out: {topic: saved-%s-out, input: %[3]s, format: columns, key: key}
`

const savedKeys = 5000

func (w *world) weir(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	return w.setup.Weir(within(t, 60*time.Second), strings.NewReader(stdin), args...)
}

func (w *world) mustWeir(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := w.weir(t, stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// refusedWeir wants a command to be refused with a text.
func (w *world) refusedWeir(t *testing.T, want, stdin string, args ...string) {
	t.Helper()
	_, err := w.weir(t, stdin, args...)
	if err == nil || !strings.Contains(strings.Join(strings.Fields(err.Error()), " "), want) {
		t.Errorf("weir %v: got %v, want %q", args, err, want)
	}
}

// rowsOf waits for every key's row and wants each to be that one.
func (w *world) rowsOf(t *testing.T, stream string, count, sum int64) {
	t.Helper()
	seen := map[int64]int{}
	rows := 0
	w.follow(t, stream, func(m Message) error {
		for r := range m.Frame.Rows {
			k, n, s := m.Frame.Columns[0].IntAt(r), m.Frame.Columns[1].IntAt(r), m.Frame.Columns[2].IntAt(r)
			if n != count || s != sum {
				return fmt.Errorf("key %d counts %d with sum %d, want %d and %d", k, n, s, count, sum)
			}
			seen[k]++
			rows++
		}
		return nil
	}, func() bool { return rows >= savedKeys })
	if len(seen) != savedKeys || rows != savedKeys {
		t.Errorf("%d rows of %d keys, want one of each of %d", rows, len(seen), savedKeys)
	}
}

func TestASavepointGoesOnInAnotherPipelineAnotherParallelismAndAnotherCluster(t *testing.T) {
	a := alone(t)
	if err := a.client.PushModule(t.Context(), "count", built.count); err != nil {
		t.Fatal(err)
	}
	in := a.topic(t, "saved-in", 8)
	out := a.topic(t, "saved-first-out", 8)
	copied := a.topic(t, "saved-copy-out", 8)
	a.mustWeir(t, fmt.Sprintf(savedPipeline, "first", 2, "sums", "first"), "pipeline", "apply", "-")
	counts := newCounts(a.nc, in, "saved-in", 8)
	if err := counts.feed(t.Context(), savedKeys, 1); err != nil {
		t.Fatal(err)
	}
	a.rowsOf(t, out, 1, 1)

	// The pipeline runs on behind its savepoint; the savepoint does not.
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(a.mustWeir(t, "", "savepoint", "create", "first", "--label", "one each", "-o", "json")), &made); err != nil {
		t.Fatal(err)
	}
	if err := counts.feed(t.Context(), savedKeys, 2); err != nil {
		t.Fatal(err)
	}
	info := a.mustWeir(t, "", "savepoint", "info", made.ID)
	for _, want := range []string{"first, revision 1", "one each", "sums", "5,000", `"incarnation":1`} {
		if !strings.Contains(info, want) {
			t.Errorf("the savepoint's description has no %q:\n%s", want, info)
		}
	}
	again := fmt.Sprintf(savedPipeline, "first", 2, "sums", "first")
	a.refusedWeir(t, "only one that is at rest can start elsewhere", again, "pipeline", "apply", "-", "--from-savepoint", made.ID)
	a.mustWeir(t, "", "pipeline", "stop", "first")
	a.refusedWeir(t, "--allow-duplicates", again, "pipeline", "apply", "-", "--from-savepoint", made.ID)
	a.mustWeir(t, "", "pipeline", "delete", "first")
	a.refusedWeir(t, `savepoint "s99": there is none of that id`, again, "pipeline", "apply", "-", "--from-savepoint", "s99")
	other := fmt.Sprintf(savedPipeline, "other", 2, "totals", "first")
	a.refusedWeir(t, "would be lost", other, "pipeline", "apply", "-", "--from-savepoint", made.ID)
	if diff := a.mustWeir(t, other, "pipeline", "diff", "-", "--from-savepoint", made.ID); !strings.Contains(diff, "dropped") {
		t.Errorf("the difference to the savepoint does not name what is dropped:\n%s", diff)
	}

	// Another parallelism goes on where the savepoint stood: each key's second record is its next.
	a.mustWeir(t, fmt.Sprintf(savedPipeline, "copy", 3, "sums", "copy"), "pipeline", "apply", "-", "--from-savepoint", made.ID)
	a.rowsOf(t, copied, 2, 3)

	dir := t.TempDir()
	file, folder := filepath.Join(dir, "s.tar"), filepath.Join(dir, "s")
	a.mustWeir(t, "", "savepoint", "export", made.ID, file)
	a.mustWeir(t, "", "savepoint", "export", made.ID, folder)
	a.mustWeir(t, "", "savepoint", "delete", made.ID)
	a.refusedWeir(t, "there is none of that id", "", "savepoint", "info", made.ID)

	b := alone(t)
	damaged, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	damaged[len(damaged)/2] ^= 1
	if err := os.WriteFile(filepath.Join(dir, "bad.tar"), damaged, 0o644); err != nil {
		t.Fatal(err)
	}
	b.refusedWeir(t, "damaged", "", "savepoint", "import", filepath.Join(dir, "bad.tar"))
	if left, err := filepath.Glob(filepath.Join(b.setup.BlobDir(), "i*")); err != nil || len(left) > 0 {
		t.Errorf("a refused import left %v, %v", left, err)
	}
	b.mustWeir(t, "", "savepoint", "import", file)
	b.mustWeir(t, "", "savepoint", "import", folder, "--label", "from a folder")
	if list := b.mustWeir(t, "", "savepoint", "list"); !strings.Contains(list, "s1") || !strings.Contains(list, "from a folder") || !strings.Contains(list, "cluster ") {
		t.Errorf("the imported savepoints are not listed:\n%s", list)
	}
	if err := b.client.PushModule(t.Context(), "count", built.count); err != nil {
		t.Fatal(err)
	}
	in, out = b.topic(t, "saved-in", 8), b.topic(t, "saved-there-out", 8)
	there := fmt.Sprintf(savedPipeline, "there", 5, "sums", "there")
	b.refusedWeir(t, "do not hold here: the savepoint was made in cluster", there, "pipeline", "apply", "-", "--from-savepoint", "s2")
	b.mustWeir(t, there, "pipeline", "apply", "-", "--from-savepoint", "s2", "--positions", "start")
	if err := newCounts(b.nc, in, "saved-in", 8).feed(t.Context(), savedKeys, 2); err != nil {
		t.Fatal(err)
	}
	b.rowsOf(t, out, 2, 3)
	// Its own checkpoints need the savepoint no longer.
	b.mustWeir(t, "", "savepoint", "delete", "s2")
	b.process.Kill()
	p, err := b.setup.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.process = p
	b.state(t, "there", "running")
}
