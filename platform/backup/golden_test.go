package backup_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/cli"
	"github.com/weirstream/weir/platform/server"
)

// The backup was made by the first version that had backups, from these records: key 1
// came with 10, 11 and 12, key 2 with 20 and 22, key 3 with 30; in namespace team key 7
// with -5 and 9. It is never written again: whoever cannot read it any more has broken
// a promise.
const (
	golden    = "testdata/golden-v1/weir.backup"
	goldenKey = "testdata/golden-v1/secrets.key"
)

// cluster is a fresh server and how it is spoken to.
type cluster struct {
	*server.Server
	t   *testing.T
	dir string
}

func fresh(t *testing.T, key string) *cluster {
	return freshWith(t, server.Options{SecretsKeyFile: key})
}

func freshWith(t *testing.T, o server.Options) *cluster {
	t.Helper()
	dir := t.TempDir()
	o.DataDir, o.Listen, o.Version = dir, "127.0.0.1:0", "v-test"
	s, err := server.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &cluster{s, t, dir}
}

func (c *cluster) weir(stdin []byte, args ...string) (stdout, stderr string, exit int) {
	var out, err bytes.Buffer
	env := cli.Env{Stdin: bytes.NewReader(stdin), Stdout: &out, Stderr: &err, Getenv: func(string) string { return "" }}
	exit = cli.Main(c.t.Context(), append([]string{"--server", c.URL()}, args...), env)
	return out.String(), err.String(), exit
}

func (c *cluster) must(args ...string) string {
	c.t.Helper()
	out, problems, exit := c.weir(nil, args...)
	if exit != 0 {
		c.t.Fatalf("weir %v: %d: %s", args, exit, problems)
	}
	return out
}

// holds wants all texts in what a command shows.
func (c *cluster) holds(args string, texts ...string) {
	c.t.Helper()
	out := strings.Join(strings.Fields(c.must(strings.Fields(args)...)), " ")
	for _, text := range texts {
		if !strings.Contains(out, text) {
			c.t.Errorf("weir %s shows no %q:\n%s", args, text, out)
		}
	}
}

// failed waits until a pipeline has failed for a reason.
func (c *cluster) failed(status, reason string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	for {
		out := c.must(strings.Fields(status)...)
		if strings.Contains(out, "failed") && strings.Contains(out, reason) {
			return
		}
		select {
		case <-ctx.Done():
			c.t.Fatalf("weir %s shows no %q in time:\n%s", status, reason, out)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// refused wants a command to end with that code and text.
func (c *cluster) refused(exit int, text string, args ...string) {
	c.t.Helper()
	out, problems, got := c.weir(nil, args...)
	if got != exit || !strings.Contains(problems, text) {
		c.t.Errorf("weir %v: %d, want %d with %q:\n%s%s", args, got, exit, text, out, problems)
	}
}

// untouched wants a cluster in which nothing was made, and no file left of an attempt.
func (c *cluster) untouched() {
	c.t.Helper()
	for _, args := range []string{"topic list", "module list", "pipeline list", "savepoint list", "secret list"} {
		if out := c.must(strings.Fields(args + " -o json")...); strings.TrimSpace(out) != "[]" {
			c.t.Errorf("weir %s: %s", args, out)
		}
	}
	if out := c.must("namespace", "list", "-o", "json"); strings.Contains(out, "team") {
		c.t.Errorf("a namespace was made: %s", out)
	}
	if left, err := filepath.Glob(filepath.Join(c.dir, "blobs", "i*")); err != nil || len(left) > 0 {
		c.t.Errorf("files are left: %v, %v", left, err)
	}
}

func TestTheBackupOfTheFirstVersionIsRestoredForEver(t *testing.T) {
	c := fresh(t, goldenKey)
	c.holds("backup restore "+golden+" --dry-run", "topic default visits empty", "pipeline team second made")
	c.untouched()
	var done struct {
		Entries []struct{ Kind, Name, Done string }
		Resume  []struct {
			Namespace, Name, UID, Savepoint string
			Lost                            []string
		}
		Warnings []string
	}
	if err := json.Unmarshal([]byte(c.must("backup", "restore", golden, "-o", "json")), &done); err != nil {
		t.Fatal(err)
	}
	if len(done.Resume) != 1 || done.Resume[0].Name != "first" || done.Resume[0].Savepoint != "s1" || len(done.Resume[0].Lost) != 2 ||
		!strings.Contains(done.Resume[0].Lost[0], "partition 0 of topic default/visits: its stream is not here") {
		t.Errorf("to resume: %+v", done.Resume)
	}
	if n := len(done.Entries); n != 2+2+1+2+6+3+2+1 {
		t.Errorf("%d entries: %+v", n, done.Entries)
	}
	c.holds("namespace list", "default 3 1 1 0", "team 3 1 1/4 0/3")
	c.holds("namespace list -o json", `"slots": 3`, `"pipelines": 4`)
	c.holds("token list", "lxohma7gje read (all)", "golden", "ybntf3sqby deploy team")
	c.holds("secret list", "pw")
	c.holds("doctor", "1 secrets, each of which opens")
	c.holds("module info count", "sha256:5b0727f922e6", "used by first")
	c.holds("module info count --namespace team", "used by second")
	c.holds("topic info team-in --namespace team", "WEIR_team+team-in", "records")
	c.holds("topic info visits -o json", `"partitions": 2`)
	c.holds("pipeline list -o json", `"name": "first"`, `"desired": "stopped"`, `"parallelism": 2`)
	c.holds("pipeline list --namespace team -o json", `"name": "second"`, `"desired": "stopped"`, `"parallelism": 1`)
	c.holds("savepoint list", "s1 first", "kept by a user", "cluster 4376ec36cd454d64")
	c.holds("savepoint info s1 --file", "visits", "parallelism: 2")
	c.holds("state dump first sums --savepoint s1", `1 total - {"count":3,"sum":33}`, `2 total - {"count":2,"sum":42}`, `3 total - {"count":1,"sum":30}`)
	c.holds("state dump second sums --savepoint s2 --namespace team", `7 total - {"count":2,"sum":4}`)

	c.holds("audit", "weir.v1.BackupService/RestoreBackup - ok")

	// Again it finds all of it there, and what was started since is somebody's own.
	out := c.must("backup", "restore", golden)
	if strings.Contains(out, "made") || strings.Contains(out, "empty") || !strings.Contains(out, "there already") {
		t.Errorf("restoring again did something:\n%s", out)
	}
	// The topics are empty: positions in their old streams are lost, and nobody is silent about it.
	c.must("pipeline", "resume", "second", "--namespace", "team")
	c.must("pipeline", "resume", "first")
	c.failed("pipeline status first", "data_lost in split visits/")
	c.failed("pipeline status second --namespace team", "data_lost in split team-in/0")
	c.refused(5, "2 reasons speak against it: pipeline default/first", "backup", "restore", golden)
	c.refused(5, "pipeline team/second: this cluster has one of that name", "backup", "restore", golden)
}

func TestABackupIsRefusedBeforeAnythingIsMade(t *testing.T) {
	c := fresh(t, "")
	c.refused(4, "--secrets-key-file", "backup", "restore", golden)
	c.refused(3, `no namespace "nobody" in the backup`, "backup", "restore", golden, "--namespace", "nobody")
	c.refused(4, "choose keep or start", "backup", "restore", golden, "--positions", "end")
	whole, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{40, len(whole) / 2, len(whole) - 3} {
		bad := bytes.Clone(whole)
		bad[at] ^= 1
		if _, problems, exit := c.weir(bad, "backup", "restore", "-", "--without-secrets"); exit == 0 || !strings.Contains(problems, "nothing was changed") {
			t.Errorf("byte %d was changed: %d, %s", at, exit, problems)
		}
		if _, problems, exit := c.weir(whole[:at], "backup", "restore", "-", "--without-secrets"); exit == 0 || !strings.Contains(problems, "nothing was changed") {
			t.Errorf("cut at %d: %d, %s", at, exit, problems)
		}
	}
	c.untouched()

	// One name that is taken is enough, and all that are taken are named.
	c.must("topic", "create", "visits")
	c.must("topic", "create", "totals")
	_, problems, exit := c.weir(whole, "backup", "restore", "-", "--without-secrets")
	if exit != 5 || !strings.Contains(problems, "topic default/totals: this cluster has one") || !strings.Contains(problems, "topic default/visits: this cluster has one") {
		t.Errorf("two names are taken: %d, %s", exit, problems)
	}
	c.must("topic", "delete", "visits")
	c.must("topic", "delete", "totals")
	c.untouched()

	// A namespace alone, and its pipeline from the first record that is there.
	c.must("backup", "restore", golden, "--namespace", "team", "--without-secrets", "--positions", "start")
	c.holds("pipeline list --namespace team -o json", `"name": "second"`, `"desired": "stopped"`)
	if out := c.must("topic", "list", "-o", "json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("another namespace's topics were made: %s", out)
	}
}
