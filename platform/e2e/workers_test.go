package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// gated is a controller that asks for tokens, and runs no tasks itself.
func gated(t *testing.T) (s Setup, admin string) {
	t.Helper()
	s, err := NewSetup(built.binary, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s.Args = []string{"--role", "controller,gateway", "--auth", "on"}
	p, err := s.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return s, firstToken(t, s)
}

func worker(t *testing.T, s Setup, name, token string, args ...string) *Member {
	t.Helper()
	m := &Member{
		Name: name, Binary: s.Binary, Env: []string{"WEIR_TOKEN=" + token}, Log: filepath.Join(s.Dir, name+".log"),
		Args: append([]string{"worker", "--join", s.URL(), "--data-dir", filepath.Join(s.Dir, name), "--slots", "2", "--id", name}, args...),
	}
	t.Cleanup(m.Kill)
	return m
}

func logOf(t *testing.T, m *Member) string {
	t.Helper()
	text, err := os.ReadFile(m.Log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAWorkerNeedsATokenOfItsRoleToJoin(t *testing.T) {
	s, admin := gated(t)
	reader := s.as(t, admin, "", "token", "create", "--role", "read")
	for token, want := range map[string]string{"": "the call brought none", reader: "has the role read, and About needs worker"} {
		m := worker(t, s, "stranger", token)
		if err := m.Start(t.Context()); !errors.Is(err, ErrDied) || !strings.Contains(logOf(t, m), want) {
			t.Errorf("it should end and say %q: %v\n%s", want, err, logOf(t, m))
		}
	}
}

func TestAJobMovesFromAWorkerThatIsDrainedToOneThatComes(t *testing.T) {
	s, admin := gated(t)
	token := s.as(t, admin, "", "token", "create", "--role", "worker")
	first := worker(t, s, "first", token)
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.as(t, admin, "", "topic", "create", "in", "--partitions", "4")
	s.as(t, admin, "", "topic", "create", "out", "--partitions", "4")
	file := filepath.Join(s.Dir, "p.yaml")
	text := `pipeline: counts
parallelism: 2
checkpoint: {interval: 200ms}
sources:
  in: {topic: in, format: json, columns: "user:utf8"}
operators:
  counter: {kind: aggregate, input: in, key: [user], config: {aggregates: [{fn: count, as: n}]}}
sinks:
  out: {topic: out, input: counter, format: json, key: user}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.as(t, admin, "", "pipeline", "apply", file)
	publish := func() {
		t.Helper()
		in := filepath.Join(s.Dir, "in.jsonl")
		if err := os.WriteFile(in, []byte(strings.Repeat("{\"user\":\"a\"}\n{\"user\":\"b\"}\n", 50)), 0o600); err != nil {
			t.Fatal(err)
		}
		s.as(t, admin, "", "topic", "publish", "in", "--file", in, "--key", "user")
	}
	// last waits until both users' newest counts are n.
	last := func(n string) {
		t.Helper()
		ctx := within(t, 60*time.Second)
		for {
			out := s.as(t, admin, "", "topic", "read", "out", "--from", "start", "--until-end")
			if strings.Contains(out, `{"user":"a","n":`+n+`}`) && strings.Contains(out, `{"user":"b","n":`+n+`}`) {
				return
			}
			if pause(ctx, pollEvery) != nil {
				t.Fatalf("no count of %s:\n%s\n%s", n, out, logOf(t, first))
			}
		}
	}
	publish()
	last("50")
	second := worker(t, s, "second", token)
	if err := second.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.as(t, admin, "", "worker", "drain", "first")
	ctx := within(t, 60*time.Second)
	for {
		list := s.as(t, admin, "", "worker", "list", "-o", "json")
		if strings.Contains(strings.Join(strings.Fields(list), ""), `"used":2,"version"`) && strings.Count(list, "default/counts") == 1 && strings.Index(list, "default/counts") > strings.Index(list, `"second"`) {
			break
		}
		if pause(ctx, pollEvery) != nil {
			t.Fatalf("the job does not move:\n%s", list)
		}
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	publish()
	last("100")
	status := s.as(t, admin, "", "pipeline", "status", "counts")
	if !strings.Contains(status, "0 restarts") {
		t.Errorf("a drain is no failure:\n%s", status)
	}
}

func TestAGatewayPassesCallsOnWithTheirTokens(t *testing.T) {
	s, admin := gated(t)
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	m := &Member{
		Name: "gateway", Binary: s.Binary, Env: []string{"WEIR_TOKEN=" + s.as(t, admin, "", "token", "create", "--role", "worker")}, Log: filepath.Join(s.Dir, "gateway.log"),
		Args: []string{"server", "--role", "gateway", "--join", s.URL(), "--listen", address, "--data-dir", filepath.Join(s.Dir, "gateway")},
	}
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Kill)
	front := s
	front.Listen = address
	front.as(t, admin, "", "topic", "create", "through")
	front.as(t, "", "the call brought none", "topic", "list")
	if list := s.as(t, admin, "", "topic", "list"); !strings.Contains(list, "through") {
		t.Errorf("%s", list)
	}
}
