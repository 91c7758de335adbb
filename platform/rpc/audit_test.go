package rpc_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/auth/audit"
	"github.com/weirstream/weir/platform/rpc"
	"github.com/weirstream/weir/raftmeta/catalog"
)

func TestWhoChangesWhatIsWrittenDownAndNothingElse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.log")
	log, err := audit.Open(file, slog.New(slog.DiscardHandler))
	must(t, err)
	g := newGuardedWith(t, func(d *rpc.Deps) { d.Audit = log })
	must(t, propose(t, g.world, &catalog.CreateNamespace{At: 1, Name: "team"}))
	admin, reader, team := g.token(catalog.RoleAdmin, "", 0), g.token(catalog.RoleRead, "", 0), g.token(catalog.RoleAdmin, "team", 0)
	id := func(token string) string { return strings.Split(token, "_")[1] }

	g.as(admin)
	g.createTopic(t, "flights", 1)
	call(t, g.topic.ListTopics, &weirv1.ListTopicsRequest{}) // reading leaves no line
	refused(t, connect.CodeAlreadyExists, g.topic.CreateTopic, &weirv1.CreateTopicRequest{Name: "flights", Partitions: 1})
	for range 3 {
		call(t, g.topic.Publish, &weirv1.PublishRequest{Topic: "flights", Records: []*weirv1.Record{{Value: []byte("canary-record")}}})
	}
	made := call(t, g.tokens.CreateToken, &weirv1.CreateTokenRequest{Role: "read", Label: "x"})
	call(t, g.secrets.SetSecret, &weirv1.SetSecretRequest{Namespace: "team", Name: "password", Value: []byte("canary-secret")})
	g.as(reader)
	refused(t, connect.CodePermissionDenied, g.topic.DeleteTopic, &weirv1.DeleteTopicRequest{Name: "flights"})
	g.as("")
	refused(t, connect.CodeUnauthenticated, g.topic.DeleteTopic, &weirv1.DeleteTopicRequest{Name: "flights"})
	g.as(team)
	refused(t, connect.CodePermissionDenied, g.topic.DeleteTopic, &weirv1.DeleteTopicRequest{Name: "flights"})
	must(t, log.Close())

	seen := func() (lines []string) {
		t.Helper()
		s, err := g.audit.ReadAudit(t.Context(), connect.NewRequest(&weirv1.ReadAuditRequest{}))
		must(t, err)
		for s.Receive() {
			for _, e := range s.Msg().GetEntries() {
				_, method, _ := strings.Cut(e.GetMethod(), "/")
				lines = append(lines, fmt.Sprintf("%s %s %s/%s %s %d", e.GetWho(), method, e.GetNamespace(), e.GetTarget(), e.GetOutcome(), e.GetCount()))
				if e.GetRemote() == "" || e.GetTime() == nil {
					t.Errorf("no place or time: %v", e)
				}
			}
		}
		must(t, s.Err())
		return lines
	}
	g.as(admin)
	want := []string{
		id(admin) + " CreateTopic default/flights ok 0",
		id(admin) + " CreateTopic default/flights already_exists 0",
		id(admin) + " CreateToken /" + made.GetToken().GetId() + " ok 0",
		id(admin) + " SetSecret team/password ok 0",
		id(reader) + " DeleteTopic / permission_denied 0", // refused before its request was read
		" DeleteTopic / unauthenticated 0",
		id(team) + " DeleteTopic default/flights permission_denied 0",
		id(admin) + " Publish default/flights ok 3",
	}
	if got := seen(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	g.as(team)
	if got := seen(); len(got) != 1 || !strings.Contains(got[0], "SetSecret team/password") {
		t.Errorf("an admin of one namespace sees %v", got)
	}
	g.as(reader)
	s, err := g.audit.ReadAudit(t.Context(), connect.NewRequest(&weirv1.ReadAuditRequest{}))
	must(t, err)
	if s.Receive() || connect.CodeOf(s.Err()) != connect.CodePermissionDenied {
		t.Errorf("a reader of topics reads it: %v", s.Err())
	}
	text, err := os.ReadFile(file)
	must(t, err)
	for _, word := range []string{"canary", admin, made.GetBearer()} {
		if strings.Contains(string(text), word) {
			t.Errorf("the file has %q", word)
		}
	}
}
