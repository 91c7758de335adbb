package e2e

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/auth/tlstest"
)

func TestAServerOverTLSSaysWhatIsWrongAndFollowsItsFiles(t *testing.T) {
	s, err := NewSetup(built.binary, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := tlstest.NewAuthority(t, "ours"), tlstest.NewAuthority(t, "theirs")
	cert, key := ours.Pair(time.Now().Add(-time.Hour))
	mine, myKey := ours.Pair(time.Now().Add(time.Hour))
	other, otherKey := theirs.Pair(time.Now().Add(time.Hour))
	s.Args = []string{"--auth", "on", "--tls-cert", cert, "--tls-key", key, "--tls-client-ca", ours.File}
	p, err := s.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	token := firstToken(t, s)
	secure := func(ca, cert, key string) []string {
		return []string{"--server", "https://" + s.Listen, "--tls-ca", ca, "--tls-cert", cert, "--tls-key", key, "topic", "list"}
	}
	s.as(t, token, "its certificate expired at", secure(ours.File, mine, myKey)...)
	s.as(t, token, "write https://", "topic", "list")

	// A renewal that is only half there changes nothing; a whole one is used without a restart.
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	ctx := within(t, patience)
	for {
		log, err := os.ReadFile(s.LogPath())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(log), "the old ones stay") {
			break
		}
		if pause(ctx, pollEvery) != nil {
			t.Fatal("the log does not say that a file is gone")
		}
	}
	s.as(t, token, "its certificate expired at", secure(ours.File, mine, myKey)...)
	ours.Issue(cert, key, time.Now().Add(time.Hour))
	for {
		if _, err = s.Weir(ctx, nil, append([]string{"--token", token}, secure(ours.File, mine, myKey)...)...); err == nil {
			break
		}
		if !strings.Contains(err.Error(), "expired at") || pause(ctx, pollEvery) != nil {
			t.Fatalf("the new certificate is not used: %v", err)
		}
	}

	s.as(t, token, "signed by nobody that is trusted here", secure(theirs.File, mine, myKey)...)
	s.as(t, token, "it wants a certificate of the caller", secure(ours.File, "", "")...)
	s.as(t, token, "does not trust who signed the caller's certificate", secure(ours.File, other, otherKey)...)
	s.as(t, "", "the call brought none", secure(ours.File, mine, myKey)...)
}
