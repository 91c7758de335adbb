package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// firstToken reads what a server wrote at its first start.
func firstToken(t *testing.T, s Setup) string {
	t.Helper()
	file := filepath.Join(s.DataDir(), "admin.token")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%s: %v, %v", file, info, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// as runs a command with a token; want is what its error has, empty for none.
func (s Setup) as(t *testing.T, token, want string, args ...string) string {
	t.Helper()
	out, err := s.Weir(t.Context(), strings.NewReader(""), append([]string{"--token", token}, args...)...)
	switch {
	case want == "" && err != nil:
		t.Fatal(err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "exit status 7")):
		t.Fatalf("%v, want exit code 7 and %q", err, want)
	}
	return strings.TrimSpace(out)
}

func TestAServerWithTokensLetsInWhoBringsAGoodOne(t *testing.T) {
	s, err := NewSetup(built.binary, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s.Args = []string{"--auth", "on"}
	p, err := s.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { p.Kill() }()
	admin := firstToken(t, s)
	s.as(t, "", "the call brought none", "topic", "list")
	s.as(t, admin[:len(admin)-1], "is none", "topic", "list")
	s.as(t, admin, "", "namespace", "create", "team")
	s.as(t, admin, "", "topic", "create", "flights")
	reader := s.as(t, admin, "", "token", "create", "--role", "read")
	deployer := s.as(t, admin, "", "token", "create", "--role", "deploy", "--namespace", "team")
	short := s.as(t, admin, "", "token", "create", "--role", "read", "--ttl", "1ms")
	s.as(t, reader, "", "topic", "list")
	s.as(t, reader, "has the role read, and DeleteTopic needs deploy", "topic", "delete", "flights")
	s.as(t, deployer, "the call is about namespace default", "topic", "delete", "flights")
	s.as(t, deployer, "", "topic", "create", "flights", "--namespace", "team")
	for ctx := within(t, patience); ; {
		if pause(ctx, 2*time.Millisecond) != nil {
			t.Fatal("a token of a millisecond lives on")
		}
		if _, err := s.Weir(ctx, nil, "--token", short, "topic", "list"); err != nil {
			s.as(t, short, "expired at", "topic", "list")
			break
		}
	}
	s.as(t, admin, "", "token", "revoke", strings.Split(reader, "_")[1])
	s.as(t, reader, "was revoked at", "topic", "list")

	// The next start knows the tokens and makes no other.
	p.Kill()
	if p, err = s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := firstToken(t, s); again != admin {
		t.Error("another first token was made")
	}
	s.as(t, admin, "", "topic", "info", "flights")
	s.as(t, reader, "was revoked at", "topic", "list")

	// Without an admin nobody could make tokens: the next start makes one.
	s.as(t, admin, "", "token", "revoke", strings.Split(admin, "_")[1])
	p.Kill()
	if p, err = s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := firstToken(t, s); again == admin {
		t.Error("there is no good admin's token")
	} else {
		s.as(t, again, "", "topic", "info", "flights")
	}
	if log, err := os.ReadFile(s.LogPath()); err != nil || strings.Contains(string(log), admin) || strings.Contains(string(log), strings.Split(admin, "_")[2]) {
		t.Errorf("the log has the token: %v", err)
	}
}

func TestAServerThatWouldBeOpenDoesNotStart(t *testing.T) {
	s := Setup{Binary: built.binary, Dir: t.TempDir()}
	for want, args := range map[string][]string{
		"add --auth on": {"--listen", "0.0.0.0:0"},
		"--plain-http":  {"--listen", "0.0.0.0:0", "--auth", "on"},
	} {
		out, err := s.Weir(t.Context(), nil, append([]string{"server", "--data-dir", s.DataDir()}, args...)...)
		if err == nil || out != "" || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "exit status 2") {
			t.Errorf("%v: %s, %v", args, out, err)
		}
	}
	if _, err := os.Stat(s.DataDir()); err == nil {
		t.Error("it wrote a data folder before it was refused")
	}
}
