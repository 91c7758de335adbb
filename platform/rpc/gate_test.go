package rpc_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/rpc"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// guarded is a world whose API asks for tokens.
type guarded struct {
	*world
	t   *testing.T
	mu  sync.Mutex // guards now
	now time.Time
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	return newGuardedWith(t, func(*rpc.Deps) {})
}

func newGuardedWith(t *testing.T, change func(*rpc.Deps)) *guarded {
	t.Helper()
	g := &guarded{t: t, now: time.Now()}
	g.world = newWorldWith(t, func(d *rpc.Deps) {
		d.Gate = rpc.NewGate(d.Node, g.clock, slog.New(slog.DiscardHandler))
		change(d)
	})
	return g
}

func (g *guarded) clock() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now
}

func (g *guarded) later(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = g.now.Add(d)
}

// token makes a token past the API and dials with it.
func (g *guarded) token(role catalog.Role, namespace string, ttl time.Duration) string {
	g.t.Helper()
	t, _, err := rpc.CreateToken(g.t.Context(), g.node, catalog.CreateToken{Role: role, Namespace: namespace}, ttl)
	must(g.t, err)
	return t.Reveal()
}

// as dials with a token, by each of the three protocols in turn.
func (g *guarded) as(token string, o ...connect.ClientOption) {
	client := trusting()
	client.Transport = bearer{token, client.Transport}
	g.dial(client, o...)
}

type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.token != "" {
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	return b.next.RoundTrip(r)
}

func TestEachWayOfNotBeingLetInHasItsSentence(t *testing.T) {
	g := newGuarded(t)
	must(t, propose(t, g.world, &catalog.CreateNamespace{At: 1, Name: "team"}))
	reader, deployer := g.token(catalog.RoleRead, "", 0), g.token(catalog.RoleDeploy, "team", 0)
	short, worker := g.token(catalog.RoleAdmin, "", time.Hour), g.token(catalog.RoleWorker, "", 0)
	stranger := "weir_aaaaaaaaaa_" + strings.Repeat("a", 52)
	for _, protocol := range []connect.ClientOption{connect.WithHTTPGet(), connect.WithGRPC(), connect.WithGRPCWeb(), connect.WithProtoJSON()} {
		for _, c := range []struct {
			token string
			code  connect.Code
			want  string
			make  *weirv1.CreateTopicRequest
		}{
			{"", connect.CodeUnauthenticated, "the call brought none", &weirv1.CreateTopicRequest{Name: "t", Partitions: 1}},
			{"hunter2", connect.CodeUnauthenticated, "is none", &weirv1.CreateTopicRequest{Name: "t", Partitions: 1}},
			{stranger, connect.CodeUnauthenticated, "knows no such token", &weirv1.CreateTopicRequest{Name: "t", Partitions: 1}},
			{reader, connect.CodePermissionDenied, "has the role read, and CreateTopic needs deploy", &weirv1.CreateTopicRequest{Name: "t", Partitions: 1}},
			{worker, connect.CodePermissionDenied, "has the role worker", &weirv1.CreateTopicRequest{Name: "t", Partitions: 1}},
			{deployer, connect.CodePermissionDenied, "is for namespace team, and the call is about namespace default", &weirv1.CreateTopicRequest{Name: "t", Partitions: 1}},
			{deployer, connect.CodePermissionDenied, "about namespace other", &weirv1.CreateTopicRequest{Namespace: "other", Name: "t", Partitions: 1}},
		} {
			g.as(c.token, protocol)
			text, problems := refused(t, c.code, g.topic.CreateTopic, c.make)
			if !strings.Contains(text, c.want) || len(problems) != 1 || problems[0].GetHint() == "" {
				t.Errorf("%s: %s %v", c.want, text, problems)
			}
		}
	}
	g.as(deployer)
	call(t, g.topic.CreateTopic, &weirv1.CreateTopicRequest{Namespace: "team", Name: "t", Partitions: 1})
	if text, _ := refused(t, connect.CodePermissionDenied, g.system.Doctor, &weirv1.DoctorRequest{}); !strings.Contains(text, "about the whole cluster") {
		t.Errorf("the doctor: %s", text)
	}
	if list := call(t, g.system.ListNamespaces, &weirv1.ListNamespacesRequest{}).GetNamespaces(); len(list) != 1 || list[0].GetName() != "team" {
		t.Errorf("another's namespaces are shown: %v", list)
	}
	g.as(short)
	call(t, g.topic.ListTopics, &weirv1.ListTopicsRequest{})
	g.later(time.Hour + time.Second)
	if text, _ := refused(t, connect.CodeUnauthenticated, g.topic.ListTopics, &weirv1.ListTopicsRequest{}); !strings.Contains(text, "expired at") {
		t.Errorf("expired: %s", text)
	}
}

func TestAnAdminOfANamespaceMakesAndSeesItsTokensOnly(t *testing.T) {
	g := newGuarded(t)
	must(t, propose(t, g.world, &catalog.CreateNamespace{At: 1, Name: "team"}))
	everywhere := g.token(catalog.RoleAdmin, "", 0)
	g.as(g.token(catalog.RoleAdmin, "team", 0))
	refused(t, connect.CodePermissionDenied, g.tokens.CreateToken, &weirv1.CreateTokenRequest{Role: "admin"})
	made := call(t, g.tokens.CreateToken, &weirv1.CreateTokenRequest{Role: "read", Namespace: "team", TtlMs: 1000})
	if made.GetToken().GetExpires() == nil {
		t.Errorf("it never expires: %v", made)
	}
	if list := call(t, g.tokens.ListTokens, &weirv1.ListTokensRequest{}).GetTokens(); len(list) != 2 {
		t.Errorf("sees %v", list)
	}
	refused(t, connect.CodeNotFound, g.tokens.RevokeToken, &weirv1.RevokeTokenRequest{Id: strings.Split(everywhere, "_")[1]})
	g.as(made.GetBearer())
	call(t, g.topic.ListTopics, &weirv1.ListTopicsRequest{Namespace: "team"})
	g.as(everywhere)
	if text, _ := refused(t, connect.CodeInvalidArgument, g.tokens.CreateToken, &weirv1.CreateTokenRequest{Role: "owner"}); !strings.Contains(text, "choose admin, deploy, read or worker") {
		t.Error(text)
	}
	call(t, g.tokens.RevokeToken, &weirv1.RevokeTokenRequest{Id: made.GetToken().GetId()})
	g.as(made.GetBearer())
	if text, _ := refused(t, connect.CodeUnauthenticated, g.topic.ListTopics, &weirv1.ListTopicsRequest{Namespace: "team"}); !strings.Contains(text, "was revoked at") {
		t.Error(text)
	}
}

func TestAStreamEndsWhenItsTokenIsTakenBack(t *testing.T) {
	g := newGuarded(t)
	admin := g.token(catalog.RoleAdmin, "", 0)
	g.as(admin)
	g.createTopic(t, "live", 1)
	reader := g.token(catalog.RoleRead, "", 0)
	g.as(reader)
	stream, err := g.topic.Read(t.Context(), connect.NewRequest(&weirv1.ReadRequest{Topic: "live", From: &weirv1.ReadRequest_Start{Start: true}}))
	must(t, err)
	g.as(admin)
	publish := func() {
		call(t, g.topic.Publish, &weirv1.PublishRequest{Topic: "live", Records: []*weirv1.Record{{Value: []byte("x")}}})
	}
	publish()
	for {
		if !stream.Receive() {
			t.Fatal(stream.Err())
		}
		if len(stream.Msg().GetRecords()) > 0 {
			break
		}
	}
	call(t, g.tokens.RevokeToken, &weirv1.RevokeTokenRequest{Id: strings.Split(reader, "_")[1]})
	publish()
	for stream.Receive() {
		if len(stream.Msg().GetRecords()) > 0 {
			t.Fatal("a record came after the token was taken back")
		}
	}
	if err := stream.Err(); connect.CodeOf(err) != connect.CodeUnauthenticated || !strings.Contains(err.Error(), "was revoked at") {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestAStreamOfAnotherNamespaceIsRefused(t *testing.T) {
	g := newGuarded(t)
	must(t, propose(t, g.world, &catalog.CreateNamespace{At: 1, Name: "team"}))
	g.as(g.token(catalog.RoleRead, "team", 0))
	stream, err := g.pipeline.Logs(t.Context(), connect.NewRequest(&weirv1.LogsRequest{Name: "p"}))
	must(t, err)
	if stream.Receive() || connect.CodeOf(stream.Err()) != connect.CodePermissionDenied {
		t.Errorf("got %v, %v", stream.Msg(), stream.Err())
	}
}

func TestHealthIsOpenAndMetricsAreARoleFurther(t *testing.T) {
	g := newGuarded(t)
	get := func(path, token string) (int, string) {
		t.Helper()
		client := trusting()
		client.Transport = bearer{token, client.Transport}
		r, err := client.Get(g.url + path)
		must(t, err)
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		must(t, err)
		return r.StatusCode, string(text)
	}
	reader, worker := g.token(catalog.RoleRead, "", 0), g.token(catalog.RoleWorker, "", 0)
	for _, c := range []struct {
		path, token string
		status      int
		text        string
	}{
		{"/healthz", "", 200, "ok"},
		{"/metrics", "", 401, "brought none"},
		{"/metrics", worker, 403, "needs read"},
		{"/metrics", reader, 200, "weir_up 1"},
		{"/nothing", reader, 403, "needs admin"},
	} {
		if status, text := get(c.path, c.token); status != c.status || !strings.Contains(text, c.text) {
			t.Errorf("%s: %d %s", c.path, status, text)
		}
	}
}

func TestWrongTokensAreSlowedDownAndGoodOnesAreNot(t *testing.T) {
	g := newGuarded(t)
	good := g.token(catalog.RoleRead, "", 0)
	g.as("weir_guess")
	limited := false
	for range 30 {
		_, err := g.topic.ListTopics(t.Context(), connect.NewRequest(&weirv1.ListTopicsRequest{}))
		switch connect.CodeOf(err) {
		case connect.CodeUnauthenticated:
		case connect.CodeResourceExhausted:
			limited = true
		default:
			t.Fatal(err)
		}
	}
	if !limited {
		t.Error("30 wrong tokens in a row were answered")
	}
	g.as(good)
	call(t, g.topic.ListTopics, &weirv1.ListTopicsRequest{})
}

func propose(t *testing.T, w *world, c catalog.Command) error {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := w.node.Propose(ctx, c)
	return err
}
