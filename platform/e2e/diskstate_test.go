package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/planner/pipelinefile"
)

// diskPipeline counts by key; its name, parallelism and backend are open.
const diskPipeline = `pipeline: %s
module: count
parallelism: %d
state: {backend: %s}
checkpoint: {interval: 200ms, min_pause: 20ms}
sources:
  in: {topic: disk-in, format: columns, columns: "key:int64,value:int64,pad:utf8"}
operators:
  sums: {function: count_sum, input: in}
sinks:
  out: {topic: disk-out, input: sums, format: columns, key: key}
`

// diskKeys are about twice as many as the least memory for state on disk holds.
const diskKeys = 200_000

// diskWorld is a server with little memory for state on disk.
type diskWorld struct {
	*world
	counts *counts
	out    string
	rows   int
	at     uint64
	rounds int
}

func openDiskWorld(t *testing.T, args ...string) *diskWorld {
	w := &diskWorld{world: alone(t, append(stateArgs(pipelinefile.Disk), args...)...)}
	if err := w.client.PushModule(t.Context(), "count", built.count); err != nil {
		t.Fatal(err)
	}
	in := w.topic(t, "disk-in", 8)
	w.out = w.topic(t, "disk-out", 8)
	w.counts = newCounts(w.nc, in, "disk-in", 8)
	return w
}

// round feeds a record of each key, and waits for each one's output.
func (w *diskWorld) round(t *testing.T) {
	t.Helper()
	w.rounds++
	if err := w.counts.feed(t.Context(), diskKeys, int64(w.rounds)); err != nil {
		t.Fatal(err)
	}
	last, err := Follow(within(t, 120*time.Second), w.nc, w.out, w.at, 60*time.Second, func(m Message) error {
		w.rows += m.Rows()
		return nil
	}, func() bool { return w.rows >= w.rounds*diskKeys })
	if err != nil {
		t.Fatal(err)
	}
	w.at = last
}

// scratch lists what is in the worker's folder for state.
func (w *diskWorld) scratch(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(w.setup.Dir, "data", "cache", "state"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// metric is the sum of a metric over all tasks of the operator sums.
func (w *diskWorld) metric(t *testing.T, name string) (sum float64) {
	t.Helper()
	r, err := http.Get(w.setup.URL() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	page, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(name+`\{[^}]*operator="sums"[^}]*\} (\S+)`).FindAllStringSubmatch(string(page), -1) {
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += v
	}
	return sum
}

func (w *diskWorld) savepoint(t *testing.T, pipeline string) string {
	t.Helper()
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(w.mustWeir(t, "", "savepoint", "create", pipeline, "-o", "json")), &made); err != nil {
		t.Fatal(err)
	}
	w.mustWeir(t, "", "pipeline", "stop", pipeline)
	return made.ID
}

// Every row that comes out says how often its key was counted, so one topic shows
// whether anything was lost or doubled on the way.
func TestStateOnDiskSurvivesDeathsAndGoesOnInMemoryAndBack(t *testing.T) {
	w := openDiskWorld(t, "--eager-restore", "0")
	w.mustWeir(t, fmt.Sprintf(diskPipeline, "cold", 2, "disk"), "pipeline", "apply", "-")
	w.round(t)
	w.round(t)
	if misses, disk := w.metric(t, "weir_operator_state_misses_total"), w.metric(t, "weir_operator_state_disk_bytes"); misses < diskKeys || disk == 0 {
		t.Errorf("%v keys were looked for on the disk, which holds %v bytes: too few for this test", misses, disk)
	}
	if n := len(w.scratch(t)); n != 2 {
		t.Errorf("%d folders of state for 2 tasks", n)
	}

	w.process.Kill()
	p, err := w.setup.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.process = p
	w.reconnected(t)
	w.round(t)
	if n := len(w.scratch(t)); n != 2 {
		t.Errorf("%d folders of state for 2 tasks after a death", n)
	}

	var read struct {
		Entries []struct{ Value any }
	}
	if err := json.Unmarshal([]byte(w.mustWeir(t, "", "state", "get", "cold", "sums", "77", "-o", "json")), &read); err != nil || len(read.Entries) == 0 {
		t.Errorf("the state of a key is not shown: %+v, %v", read, err)
	}
	if lines := strings.Count(w.mustWeir(t, "", "state", "dump", "cold", "sums", "-n", "0", "-o", "json"), "\n"); lines != diskKeys {
		t.Errorf("a dump has %d lines for %d keys", lines, diskKeys)
	}

	w.mustWeir(t, "", "pipeline", "rescale", "cold", "--parallelism", "5")
	w.round(t)
	saved := w.savepoint(t, "cold")
	if left := w.scratch(t); len(left) > 0 {
		t.Errorf("a stopped pipeline left %v", left)
	}
	w.mustWeir(t, fmt.Sprintf(diskPipeline, "warm", 3, "memory"), "pipeline", "apply", "-", "--from-savepoint", saved)
	w.round(t)
	saved = w.savepoint(t, "warm")
	w.mustWeir(t, fmt.Sprintf(diskPipeline, "again", 2, "disk"), "pipeline", "apply", "-", "--from-savepoint", saved)
	w.round(t)

	// A pipeline that is there moves by its next revision.
	moved := fmt.Sprintf(diskPipeline, "again", 2, "memory")
	if diff := w.mustWeir(t, moved, "pipeline", "diff", "-"); !strings.Contains(diff, "state was on disk, is in memory") {
		t.Errorf("the difference does not say that the state moves:\n%s", diff)
	}
	w.mustWeir(t, moved, "pipeline", "apply", "-")
	w.round(t)
	if err := checkCounts(t.Context(), w.nc, w.out, diskKeys, diskKeys, w.rounds); err != nil {
		t.Error(err)
	}
}
