package auth

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/raftmeta/catalog"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// known is a catalog of tokens.
type known map[string]*catalog.Token

func (k known) find(id string) (*catalog.Token, bool) {
	t, ok := k[id]
	return t, ok
}

func (k known) add(role catalog.Role, namespace string) (Token, *catalog.Token) {
	t := NewToken()
	k[t.ID] = &catalog.Token{ID: t.ID, Role: role, Namespace: namespace, Hash: t.Hash()}
	return t, k[t.ID]
}

func TestATokenIsKnownByItsSecretAndByNothingElse(t *testing.T) {
	k := known{}
	reader, _ := k.add(catalog.RoleRead, "team")
	other, _ := k.add(catalog.RoleAdmin, "")
	p, err := Identify("Bearer "+reader.Reveal(), k.find, now)
	if err != nil || p != (Principal{reader.ID, catalog.RoleRead, "team"}) {
		t.Fatalf("%+v, %v", p, err)
	}
	if p, err = Identify("bearer "+reader.Reveal(), k.find, now); err != nil || p.ID != reader.ID {
		t.Errorf("the scheme's case matters: %v", err)
	}
	expired, e := k.add(catalog.RoleRead, "")
	e.Expires = now.UnixMicro()
	lasts, l := k.add(catalog.RoleRead, "")
	l.Expires = now.UnixMicro() + 1
	revoked, r := k.add(catalog.RoleRead, "")
	r.Revoked = now.Add(-time.Hour).UnixMicro()
	if _, err := Identify("Bearer "+lasts.Reveal(), k.find, now); err != nil {
		t.Errorf("a microsecond before its end: %v", err)
	}
	mixed := Prefix + other.ID + "_" + reader.Reveal()[len(Prefix)+idChars+1:]
	expiredID := Prefix + expired.ID + "_" + reader.Reveal()[len(Prefix)+idChars+1:]
	for header, want := range map[string]string{
		"":                                "the call brought none",
		"Basic dXNlcjpwYXNz":              "in a way that this server does not know",
		"Bearer hunter2":                  "what was given as a token is none",
		"Bearer " + reader.Reveal() + "a": "what was given as a token is none",
		"Bearer " + mixed:                 "knows no such token",
		"Bearer " + expiredID:             "knows no such token", // its end is not told to who does not hold it
		"Bearer " + NewToken().Reveal():   "knows no such token",
		"Bearer " + expired.Reveal():      "expired at 2026-03-01T12:00:00Z",
		"Bearer " + revoked.Reveal():      "was revoked at 2026-03-01T11:00:00Z",
	} {
		_, err := Identify(header, k.find, now)
		var refusal *Refusal
		if !errors.Is(err, ErrUnauthenticated) || !errors.As(err, &refusal) || !strings.Contains(err.Error(), want) || refusal.Hint() == "" {
			t.Errorf("%q: %v, want %q", header, err, want)
		}
	}
}

func TestPrintingATokenShowsNoSecret(t *testing.T) {
	token := NewToken()
	secret := token.Reveal()[len(Prefix)+idChars+1:]
	for _, text := range []string{fmt.Sprint(token), fmt.Sprintf("%+v", token), fmt.Sprintf("%#v", token), fmt.Sprintf("%s", token), fmt.Sprintf("%v", &token)} {
		if strings.Contains(text, secret[:8]) || !strings.Contains(text, token.ID) {
			t.Errorf("printed as %s", text)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(NewToken().Reveal())
	f.Add("weir_")
	f.Add(Prefix + strings.Repeat("a", 10) + "_" + strings.Repeat("7", 52))
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ParseToken(text)
		if err == nil && token.Reveal() != text {
			t.Fatalf("%q came back as %q: one token has one text", text, token.Reveal())
		}
	})
}

// TestRolesMayWhatTheTableOfTheManualSays writes the manual's table out by hand.
func TestRolesMayWhatTheTableOfTheManualSays(t *testing.T) {
	const (
		topics    = "/weir.v1.TopicService/"
		pipelines = "/weir.v1.PipelineService/"
		system    = "/weir.v1.SystemService/"
		tokens    = "/weir.v1.TokenService/"
	)
	for path, may := range map[string]string{
		topics + "Read":                "read deploy admin",
		topics + "Publish":             "deploy admin",
		topics + "DeleteTopic":         "deploy admin",
		pipelines + "ApplyPipeline":    "deploy admin",
		pipelines + "ValidatePipeline": "read deploy admin",
		system + "CreateNamespace":     "admin",
		system + "GetVersion":          "read deploy admin worker",
		tokens + "CreateToken":         "admin",
		"/metrics":                     "read deploy admin",
		"/weir.v1.TopicService/Nope":   "admin",
		"/somewhere":                   "admin",
	} {
		for _, role := range []catalog.Role{catalog.RoleRead, catalog.RoleDeploy, catalog.RoleAdmin, catalog.RoleWorker} {
			err := AccessTo(path).Admit(Principal{ID: "k", Role: role}, path)
			want := false
			for _, r := range strings.Fields(may) {
				want = want || r == string(role)
			}
			if (err == nil) != want || err != nil && !errors.Is(err, ErrDenied) {
				t.Errorf("%s as %s: %v", path, role, err)
			}
		}
	}
	for _, path := range []string{"/healthz", "/grpc.health.v1.Health/Check"} {
		if !AccessTo(path).Open() {
			t.Errorf("%s wants a token", path)
		}
	}
	err := AccessTo(topics+"Publish").Admit(Principal{ID: "k3", Role: catalog.RoleRead}, topics+"Publish")
	if want := "token k3 has the role read, and Publish needs deploy"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestATokenOfANamespaceStaysInIt(t *testing.T) {
	team := Principal{ID: "k3", Role: catalog.RoleAdmin, Namespace: "team"}
	everywhere := Principal{ID: "k4", Role: catalog.RoleAdmin}
	home := Principal{ID: "k5", Role: catalog.RoleAdmin, Namespace: "default"}
	publish, create := AccessTo("/weir.v1.TopicService/Publish"), AccessTo("/weir.v1.TokenService/CreateToken")
	for _, c := range []struct {
		access    Access
		who       Principal
		namespace string
		want      string
	}{
		{publish, team, "team", ""},
		{publish, team, "other", "token k3 is for namespace team, and the call is about namespace other"},
		{publish, team, "", "token k3 is for namespace team, and the call is about namespace default"},
		{publish, home, "", ""},
		{publish, everywhere, "other", ""},
		{create, team, "team", ""},
		{create, team, "", "token k3 is for namespace team, and the call is about all namespaces"},
		{create, everywhere, "", ""},
	} {
		err := c.access.AdmitNamespace(c.who, c.namespace)
		if got := fmt.Sprint(err); got != c.want && (c.want != "" || err != nil) {
			t.Errorf("%+v in %q: %v, want %q", c.who, c.namespace, err, c.want)
		}
	}
	if err := AccessTo("/weir.v1.SystemService/CreateNamespace").Admit(team, "/x/CreateNamespace"); !errors.Is(err, ErrDenied) {
		t.Errorf("an admin of one namespace makes namespaces: %v", err)
	}
}

func TestWrongTokensAreCountedByAddressAndForgivenWithTime(t *testing.T) {
	var l Limiter
	for i := range failuresBurst {
		if err := l.Fail("10.0.0.1", now); err != nil {
			t.Fatalf("failure %d: %v", i, err)
		}
	}
	err := l.Fail("10.0.0.1", now)
	var refusal *Refusal
	if !errors.Is(err, ErrThrottled) || !errors.As(err, &refusal) || !strings.Contains(refusal.Hint(), "again in 3s") {
		t.Fatalf("one too many: %v", err)
	}
	if err := l.Fail("10.0.0.2", now); err != nil {
		t.Errorf("another address pays for it: %v", err)
	}
	if err := l.Fail("10.0.0.1", now.Add(failureRefill)); err != nil {
		t.Errorf("after the wait that was named: %v", err)
	}
	for i := range 3 * maxAddresses {
		_ = l.Fail(fmt.Sprint(i), now)
	}
	if n := len(l.failures); n > maxAddresses+1 {
		t.Errorf("%d addresses are remembered", n)
	}
	if err := l.Fail("10.0.0.9", now.Add(time.Hour)); err != nil || len(l.failures) != 1 {
		t.Errorf("an hour later: %v, %d addresses", err, len(l.failures))
	}
}

func TestAServerIsNotOpenToTheNetworkByMistake(t *testing.T) {
	for _, c := range []struct {
		p    Protection
		on   bool
		want string
	}{
		{Protection{Listen: "127.0.0.1:7070"}, false, ""},
		{Protection{Listen: "[::1]:0", Mode: ModeOff}, false, ""},
		{Protection{Listen: "localhost:7070", Mode: ModeOn}, true, ""},
		{Protection{Listen: "0.0.0.0:7070"}, false, "--auth on"},
		{Protection{Listen: ":7070", Mode: ModeOff, TLS: true}, false, "--auth on"},
		{Protection{Listen: "weir.example:7070", Mode: ModeOff, PlainHTTP: true}, false, "--auth on"},
		{Protection{Listen: "10.0.0.3:7070", Mode: ModeOn}, false, "--plain-http"},
		{Protection{Listen: "10.0.0.3:7070", Mode: ModeOn, PlainHTTP: true}, true, ""},
		{Protection{Listen: "10.0.0.3:7070", Mode: ModeOn, TLS: true}, true, ""},
		{Protection{Listen: "127.0.0.1:7070", Mode: "maybe"}, false, "--auth on or --auth off"},
	} {
		on, err := c.p.Decide()
		var refusal *Refusal
		if on != c.on || (err == nil) != (c.want == "") || err != nil && (!errors.As(err, &refusal) || !strings.Contains(refusal.Hint(), c.want)) {
			t.Errorf("%+v: %t, %v", c.p, on, err)
		}
	}
}
