package backup_test

import (
	"encoding/json"
	"maps"
	"net"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirstream/weir/platform/server"
)

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// The first restore makes streams of incarnations above 6, which the golden cluster
// had come to; to the second one they are streams that were made anew since the backup.
func TestAStreamThatWasMadeAnewSinceTheBackupIsBoundAndPositionsInItAreLost(t *testing.T) {
	address := freeAddress(t)
	first := freshWith(t, server.Options{SecretsKeyFile: goldenKey, NATSListen: address})
	first.must("backup", "restore", golden)
	first.holds("topic info totals -o json", `"incarnation": 8`) // by namespace and name: first-dead-letters is 7
	second := freshWith(t, server.Options{SecretsKeyFile: goldenKey, NATSURL: "nats://" + address})
	var done struct {
		Entries []struct{ Kind, Name, Done, Note string }
		Resume  []struct{ Lost []string }
	}
	if err := json.Unmarshal([]byte(second.must("backup", "restore", golden, "-o", "json")), &done); err != nil {
		t.Fatal(err)
	}
	bound := 0
	for _, e := range done.Entries {
		if e.Kind == "topic" && e.Done == "bound" && strings.Contains(e.Note, "made anew since the backup") {
			bound++
		}
	}
	if bound != 6 || len(done.Resume) != 1 || len(done.Resume[0].Lost) != 2 || !strings.Contains(done.Resume[0].Lost[0], "the position 1: it was recreated") {
		t.Errorf("%d topics are bound: %+v", bound, done)
	}
	second.must("topic", "create", "next")
	second.holds("topic info totals -o json", `"incarnation": 8`)
	second.holds("topic info next -o json", `"incarnation": 13`) // above the six that are bound
}

// A stream of somebody else takes a topic's subject, which is found out when the
// topic's own stream is made: in the middle of a restore.
func TestARestoreThatFailsInTheMiddleGoesOnWhenItIsSaidAgain(t *testing.T) {
	address := freeAddress(t)
	c := freshWith(t, server.Options{SecretsKeyFile: goldenKey, NATSListen: address})
	nc, err := nats.Connect("nats://" + address)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "other", Subjects: []string{"visits.*"}}); err != nil {
		t.Fatal(err)
	}
	_, problems, exit := c.weir(nil, "backup", "restore", golden)
	// Before it: two namespaces, two tokens, a secret, two modules, and two topics that come first by name.
	if exit == 0 || !strings.Contains(problems, "9 of 19 entries stand, then topic default/visits") || !strings.Contains(problems, "run the same command again") {
		t.Errorf("%d: %s", exit, problems)
	}
	c.holds("topic list", "totals")
	if out := c.must("pipeline", "list", "-o", "json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("pipelines stand before their topics: %s", out)
	}
	if left, err := filepath.Glob(filepath.Join(c.dir, "blobs", "i*")); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	if err := js.DeleteStream(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	var done struct {
		Entries []struct{ Kind, Name, Done string }
	}
	if err := json.Unmarshal([]byte(c.must("backup", "restore", golden, "-o", "json")), &done); err != nil {
		t.Fatal(err)
	}
	for i, e := range done.Entries {
		if there := e.Done == "there already"; there != (i <= 9) { // the entry of the topic that failed stands too
			t.Errorf("entry %d, %s %s, is %s", i, e.Kind, e.Name, e.Done)
		}
	}
	c.holds("topic info visits -o json", `"partitions": 2`)
	c.holds("state dump first sums --savepoint s1", `1 total - {"count":3,"sum":33}`)
}

// described is what a backup says of itself, less what is another cluster's.
func described(t *testing.T, c *cluster, file string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(c.must("backup", "info", file, "-o", "json")), &out); err != nil {
		t.Fatal(err)
	}
	for _, own := range []string{"cluster", "created", "weir", "incarnations", "bytes"} {
		delete(out, own)
	}
	var strip func(any)
	strip = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				strip(e)
			}
		case map[string]any:
			maps.DeleteFunc(v, func(key string, _ any) bool {
				return key == "created" || key == "pushed" || key == "incarnation" || key == "cluster" || key == "running" || key == "ran_on" || key == "number"
			})
			for _, e := range v {
				strip(e)
			}
		}
	}
	strip(out)
	return out
}

// What is restored and not yet started can be backed up again, and nothing of it is another.
func TestABackupOfARestoredClusterIsTheSameBackup(t *testing.T) {
	first := fresh(t, goldenKey)
	first.must("backup", "restore", golden)
	file := filepath.Join(t.TempDir(), "again.backup")
	first.must("backup", "create", file, "--all-savepoints")
	want := described(t, first, golden)
	if got := described(t, first, file); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
	first.refused(5, "file exists", "backup", "create", file)
	second := fresh(t, goldenKey)
	second.must("backup", "restore", file)
	second.holds("state dump second sums --savepoint s2 --namespace team", `7 total - {"count":2,"sum":4}`)

	// One namespace, without state.
	file = filepath.Join(t.TempDir(), "team.backup")
	second.must("backup", "create", file, "--no-savepoints", "--namespace", "team")
	second.holds("backup info "+file, "namespace team", "tokens 1", "second stopped, without state", "of namespace team")
	second.refused(4, "nothing to stop for", "backup", "create", "-", "--no-savepoints", "--stop")
	second.refused(3, `no namespace "nobody" in this cluster`, "backup", "create", "-", "--namespace", "nobody")
	third := fresh(t, "")
	third.must("backup", "restore", file)
	third.holds("pipeline list --namespace team -o json", `"name": "second"`)
	if out := third.must("topic", "list", "-o", "json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("another namespace's topics are in it: %s", out)
	}
}
