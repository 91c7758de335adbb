package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/failpoint"
)

func TestFilesOfAnExactlyOnceSinkHoldEachRowOnceThroughDeathsWhileTheyAppear(t *testing.T) {
	w := alone(t)
	if err := w.client.PushModule(t.Context(), "guest", built.guest); err != nil {
		t.Fatal(err)
	}
	in := w.topic(t, "files-in", 4)
	load := NewWorkload(23, 30_000, 400, 4)
	w.feedAll(t, in, "files-in", load)
	folder := filepath.Join(t.TempDir(), "out") + "/"
	w.process.Kill()
	deaths := []Death{
		{Place: failpoint.FileBeforeRename, Nth: 1}, {Place: failpoint.FileAfterRename, Nth: 2}, {Place: failpoint.SinkPublished, Nth: 2},
	}
	for i, d := range deaths {
		p, err := w.setup.Start(t.Context(), d.env()...)
		if p != nil {
			w.process = p
		}
		if err != nil && !errors.Is(err, ErrDied) {
			t.Fatal(err)
		}
		if i == 0 {
			w.apply(t, `pipeline: files
module: guest
parallelism: 2
checkpoint: {interval: 100ms, min_pause: 20ms}
sources:
  in: {topic: files-in, format: columns, columns: "%s", bounded: true}
operators:
  chaos: {function: chaos, input: in}
sinks:
  out: {file: %q, input: chaos, format: json, options: {roll_bytes: 40000}}
`, StepColumns, folder)
		}
		select {
		case <-p.Ended():
		case <-time.After(20 * time.Second):
			t.Fatalf("%s was not reached", d)
		}
	}
	var err error
	if w.process, err = w.setup.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.state(t, "files", "finished")
	if err := load.checkFiles(folder); err != nil {
		t.Error(err)
	}
}

// checkFiles wants each row of the first stage in exactly one line of one file.
func (w *Workload) checkFiles(folder string) error {
	files, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	var p Mismatch
	seen := make([]map[int64]int64, w.Keys) // key -> seq -> sum
	rows := 0
	for _, e := range files {
		if e.IsDir() || !strings.HasSuffix(e.Name(), ".jsonl") || strings.HasPrefix(e.Name(), ".") {
			p.add("%s is left in the folder", e.Name())
			continue
		}
		f, err := os.Open(filepath.Join(folder, e.Name()))
		if err != nil {
			return err
		}
		for lines := bufio.NewScanner(f); lines.Scan(); rows++ {
			var line struct {
				Key      string
				Seq, Sum int64
			}
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				return errors.Join(fmt.Errorf("%s: %w", e.Name(), err), f.Close())
			}
			k := w.keyNumber([]byte(line.Key))
			if k < 0 {
				p.add("%s: key %q was never fed", e.Name(), line.Key)
				continue
			}
			if seen[k] == nil {
				seen[k] = map[int64]int64{}
			}
			if _, twice := seen[k][line.Seq]; twice {
				p.add("%s: key %s has %d again", e.Name(), line.Key, line.Seq)
			}
			seen[k][line.Seq] = line.Sum
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	if rows != w.Records || len(files) < 4 {
		p.add("%d rows in %d files, want %d in several", rows, len(files), w.Records)
	}
	for k, n := range w.counts {
		sum := int64(0)
		for q := 1; q <= int(n); q++ {
			sum += w.value(k, q)
			if got := seen[k][int64(q)]; got != sum {
				p.add("key %s at %d has the sum %d, the model %d", KeyName(k), q, got, sum)
			}
		}
	}
	return p.orNil()
}
