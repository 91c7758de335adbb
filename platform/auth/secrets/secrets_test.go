package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestASealedValueOpensUnderItsNameAndWithItsKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secrets.key")
	key, err := GenerateKey(file)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	again, err := GenerateKey(file)
	if err != nil || again.ID() != key.ID() {
		t.Fatalf("a key that is there was replaced: %v", err)
	}
	sealed, err := key.Seal("team", "password", []byte("hunter22"))
	if err != nil || bytes.Contains(sealed, []byte("hunter22")) {
		t.Fatalf("%x, %v", sealed, err)
	}
	if twice, _ := key.Seal("team", "password", []byte("hunter22")); bytes.Equal(twice, sealed) {
		t.Error("the same value gives the same bytes")
	}
	if value, err := again.Open("team", "password", key.ID(), sealed); err != nil || string(value) != "hunter22" {
		t.Errorf("%q, %v", value, err)
	}
	for _, c := range []struct{ namespace, name string }{{"team", "other"}, {"other", "password"}, {"team\x00password", ""}} {
		if _, err := key.Open(c.namespace, c.name, key.ID(), sealed); !errors.Is(err, ErrDamaged) {
			t.Errorf("moved to %q: %v", c, err)
		}
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := key.Open("team", "password", key.ID(), bad); !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
	}
	if _, err := key.Open("team", "password", key.ID(), sealed[:5]); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
	other, err := GenerateKey(file + "2")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Open("team", "password", key.ID(), sealed); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "--secrets-key-file") {
		t.Errorf("with another key: %v", err)
	}
	for _, n := range []int{0, MinValueBytes - 1, MaxValueBytes + 1} {
		if _, err := key.Seal("team", "password", make([]byte, n)); !errors.Is(err, ErrValue) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if err := os.WriteFile(file, []byte("c2hvcnQ=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKey(file); err == nil || !strings.Contains(err.Error(), "openssl rand -base64 32") {
		t.Errorf("a short key: %v", err)
	}
}

func TestReferencesAreReplacedOnceAndWhole(t *testing.T) {
	text, names, err := Qualify("a ${secret:one}-${secret:two}$ {secret:three}", "team")
	if err != nil || text != "a ${secret:team/one}-${secret:team/two}$ {secret:three}" || fmt.Sprint(names) != "[one two]" {
		t.Fatalf("%q %v %v", text, names, err)
	}
	got, err := Expand(text, func(namespace, name string) (string, error) {
		return map[string]string{"team/one": "${secret:team/two}", "team/two": "2"}[namespace+"/"+name], nil
	})
	if want := "a ${secret:team/two}-2$ {secret:three}"; err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"${secret:}", "${secret:other/one}", "${secret:one", "${secret:${secret:one}}"} {
		if got, _, err := Qualify(bad, "team"); err == nil {
			t.Errorf("%s became %s", bad, got)
		}
	}
}

func FuzzQualify(f *testing.F) {
	f.Add("a ${secret:one} b")
	f.Add("${secret:${secret:x}")
	f.Fuzz(func(t *testing.T, text string) {
		qualified, names, err := Qualify(text, "team")
		if err != nil {
			return
		}
		var asked []string
		plain, err := Expand(qualified, func(namespace, name string) (string, error) {
			if namespace != "team" {
				t.Fatalf("%q reaches into namespace %q", text, namespace)
			}
			asked = append(asked, name)
			return refBegin + name + refEnd, nil
		})
		if err != nil || plain != text || fmt.Sprint(asked) != fmt.Sprint(names) {
			t.Fatalf("%q came back as %q: %v", text, plain, err)
		}
	})
}

func TestAValueIsTakenOutOfErrorsAndLogsInAllItsForms(t *testing.T) {
	const value = `p"ss w/rd&1`
	var r Redactor
	sentinel := errors.New("refused")
	var log bytes.Buffer
	l := slog.New(r.Handler(slog.NewTextHandler(&log, nil))).With("part", "x")
	l.Info("before", "text", "nothing to hide")
	r.Hide(value)
	r.Hide(value)
	err := r.Error(fmt.Errorf("dial %s, %q, https://u:%s@h: %w", value, value, `p%22ss%20w%2Frd&1`, sentinel))
	if strings.Contains(err.Error(), "ss") || !errors.Is(err, sentinel) {
		t.Errorf("%v", err)
	}
	if plain := errors.New("plain"); r.Error(plain) != plain || r.Error(nil) != nil {
		t.Error("an error without a value is changed")
	}
	l.Error("connect "+value, "error", fmt.Errorf("bad %s", value), "n", 7, slog.Group("g", "inner", value), "list", []string{value})
	for _, part := range []string{`p"ss`, `p\"ss`, `p\\\"ss`, "rd&1"} {
		if strings.Contains(log.String(), part) {
			t.Errorf("%s is in\n%s", part, log.String())
		}
	}
	if !strings.Contains(log.String(), "n=7") || !strings.Contains(log.String(), hidden) {
		t.Errorf("the log is\n%s", log.String())
	}
}
