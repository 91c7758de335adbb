package e2e

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

// canary is a value that is found wherever it leaks, as it is or quoted.
const canary = `canary "7f3a91bd" rests`

// traces are the forms in which it would be seen.
var traces = []string{canary, "7f3a91bd", base64.StdEncoding.EncodeToString([]byte(canary))[:20]}

func leaks(text []byte) bool {
	for _, trace := range traces {
		if bytes.Contains(text, []byte(trace)) {
			return true
		}
	}
	return false
}

func TestASecretReachesItsConnectorAndNothingElse(t *testing.T) {
	w := alone(t)
	var said bytes.Buffer
	weir := func(stdin string, args ...string) string {
		t.Helper()
		out, err := w.setup.Weir(t.Context(), strings.NewReader(stdin), args...)
		fmt.Fprintf(&said, "%v: %s %v\n", args, out, err)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	folder := t.TempDir()
	file, output := filepath.Join(folder, "p.yaml"), filepath.Join(folder, "out.csv")
	apply := func(name, options string) error {
		t.Helper()
		text := fmt.Sprintf(`pipeline: %s
checkpoint: {interval: 100ms}
sources:
  in: {topic: words, format: json, columns: "n:int64,word:utf8?"}
sinks:
  out: {file: %q, input: in, format: csv, guarantee: at_least_once, options: %s}
`, name, output, options)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := w.setup.Weir(t.Context(), nil, "pipeline", "apply", file)
		fmt.Fprintf(&said, "apply: %s %v\n", out, err)
		return err
	}
	weir("", "topic", "create", "words", "--partitions", "1")
	if err := apply("early", `{"null": "${secret:nothing}"}`); err == nil || !strings.Contains(err.Error(), "weir secret set nothing") {
		t.Errorf("a secret that there is not: %v", err)
	}
	weir(canary+"\n", "secret", "set", "nothing")
	if err := apply("words", `{"null": "${secret:nothing}"}`); err != nil {
		t.Fatal(err)
	}
	weir(`{"n":1,"word":null}`+"\n", "topic", "publish", "words", "--file", "-")
	ctx := within(t, patience)
	for {
		text, _ := os.ReadFile(output) // it may not be there yet
		if strings.Contains(string(text), "7f3a91bd") {
			break
		}
		if pause(ctx, pollEvery) != nil {
			t.Fatalf("the sink did not get the value: %q", text)
		}
	}
	w.waitFor(t, "words", "a checkpoint", func(s *weirv1.PipelineStatus) bool { return s.GetLastCheckpoint().GetId() > 0 })

	// A connector that is given a value which it cannot use says so, and shows it.
	if err := apply("broken", `{"delimiter": "${secret:nothing}"}`); err != nil {
		t.Fatal(err)
	}
	failed := w.state(t, "broken", "failed")
	if text := fmt.Sprint(failed); !strings.Contains(text, "(secret)") {
		t.Errorf("the failure does not speak of the value, so that nothing is tested: %s", text)
	}
	weir("", "pipeline", "stop", "words")
	weir("", "pipeline", "resume", "words") // what restores state is looked at too
	w.state(t, "words", "running")

	for _, c := range []string{
		"pipeline list -o json", "pipeline status words -o json", "pipeline status words --file", "pipeline status broken", "pipeline logs words", "pipeline logs broken",
		"pipeline diff " + file, "pipeline validate " + file, "checkpoint list words -o json", "topic info words -o json", "secret list -o json", "deadletter list words",
	} {
		out := weir("", strings.Fields(c)...)
		if c == "secret list -o json" && !strings.Contains(out, `"nothing"`) {
			t.Errorf("the list has no secret: %s", out)
		}
	}
	out, err := w.setup.Weir(t.Context(), nil, "doctor") // the pipeline that failed is a finding
	fmt.Fprintln(&said, out, err)
	r, err := http.Get(w.setup.URL() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if _, err := io.Copy(&said, r.Body); err != nil {
		t.Fatal(err)
	}
	if leaks(said.Bytes()) {
		t.Errorf("a command shows the value:\n%s", said.String())
	}

	// Neither the log nor any file of the data folder has it, running or ended.
	if err := w.process.Stop(); err != nil {
		t.Fatal(err)
	}
	files := 0
	err = filepath.WalkDir(w.setup.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		if leaks(text) {
			t.Errorf("%s has the value", path)
		}
		return nil
	})
	if err != nil || files < 10 {
		t.Fatalf("%s files were looked at: %v", strconv.Itoa(files), err)
	}
	if info, err := os.Stat(filepath.Join(w.setup.DataDir(), "secrets.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", info, err)
	}
}
