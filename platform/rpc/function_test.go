package rpc_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/weirstream/weir/abi/frame"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/api/weir/v1/weirv1connect"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/gateway"
	"github.com/weirstream/weir/platform/operator/dispatch"
	"github.com/weirstream/weir/platform/planner"
	"github.com/weirstream/weir/platform/rpc"
	"github.com/weirstream/weir/platform/server/agent"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// shop is a world with the functions of one pipeline, which the test plays: every
// call is answered with its own value.
func shop(t *testing.T) *guarded {
	t.Helper()
	g := newGuardedWith(t, func(d *rpc.Deps) {
		var err error
		d.Functions, err = gateway.New(gateway.Options{Node: d.Node, Topics: d.Topics, Pipelines: d.Pipelines})
		must(t, err)
		t.Cleanup(func() { must(t, d.Functions.Close()) })
	})
	must(t, propose(t, g.world, &catalog.CreateNamespace{At: 1, Name: "team"}))
	config, err := json.Marshal(dispatch.Config{Types: []string{"com.example/echo"}})
	must(t, err)
	graph := &jobgraph.Graph{Version: jobgraph.FormatVersion, Stages: []jobgraph.Stage{{Name: planner.FunctionsStage, Parallelism: 1, Operators: []jobgraph.Operator{
		{ID: planner.DispatchID, Kind: dispatch.Kind, Config: config},
	}}}}
	encoded, err := jobgraph.Encode(graph)
	must(t, err)
	digest := jobgraph.DigestOf(encoded)
	_, err = g.blobs.Put(t.Context(), agent.GraphName(digest), bytes.NewReader(encoded))
	must(t, err)
	for topic, why := range map[string]string{planner.MessagesTopic("shop"): topics.SystemMessages, planner.RepliesTopic("shop"): topics.SystemReplies} {
		_, err := g.topics.CreateSystem(t.Context(), "team", topic, why, catalog.Retention{})
		must(t, err)
	}
	must(t, propose(t, g.world, &catalog.ApplyPipeline{
		At: 1, Namespace: "team", Name: "shop", Nonce: "x",
		Revision: catalog.Revision{Graph: digest, Spec: digest, Widths: catalog.Widths(graph), Delivery: catalog.ExactlyOnce, Retain: 1},
	}))
	return g
}

// echo answers every call that comes from now on with its own value; what an id
// "silent" is sent is not answered.
func (g *guarded) echo() {
	topic, _ := g.topics.Topic("team", planner.MessagesTopic("shop"))
	ended := make(chan struct{})
	ctx := g.t.Context()
	go func() {
		defer close(ended)
		_ = g.topics.Scan(ctx, topic, topics.Range{}, func(m topics.Message) error { // it ends with the test
			s, _, err := frame.DecodeStored(m.Data, nil)
			if err != nil {
				return err
			}
			for row := range s.Rows {
				c := s.Columns
				id, err := functions.ParseCallID(c[functions.MessageCallerID].StringAt(row))
				if err != nil || c[functions.MessageID].StringAt(row) == "silent" {
					continue
				}
				r := functions.Reply{Call: id.String(), Typename: string(c[functions.MessageTypename].BytesAt(row)), Value: c[functions.MessageValue].BytesAt(row)}
				if string(r.Value) == "nothing" {
					r.Value = nil
				}
				if err := g.conn.Publish(functions.ReplySubject(id.Gateway), r.Append(nil)); err != nil {
					return err
				}
			}
			return nil
		})
	}()
	g.t.Cleanup(func() { <-ended })
}

func TestMessagesAndCallsGoOverPlainHTTP(t *testing.T) {
	g := shop(t)
	g.echo()
	deploy, reader, elsewhere := g.token(catalog.RoleDeploy, "team", 0), g.token(catalog.RoleRead, "", 0), g.token(catalog.RoleDeploy, "default", 0)
	const form, plain = "application/x-www-form-urlencoded", "text/plain"
	for _, c := range []struct {
		name, method, path, token, content, typename, body string
		status                                             int
		want, wantTypename, wantContent                    string
	}{
		{"a message", "PUT", "com.example/echo/a?namespace=team", deploy, "application/json; charset=utf-8", "", `{"n":1}`, 200, `{"stored":1,"duplicate":false}` + "\n", "", "application/json"},
		{"the same again", "PUT", "com.example/echo/a?namespace=team", deploy, form, "", `{"n":1}`, 200, `{"stored":1,"duplicate":false}` + "\n", "", "application/json"},
		{"a call", "POST", "com.example/echo/a?namespace=team", deploy, form, "", `{"n":1}`, 200, `{"n":1}`, "io.weir/json", "application/json"},
		{"a call with bytes", "POST", "com.example/echo/a?namespace=team&timeout=20s", deploy, plain, "", "text", 200, "text", "io.weir/bytes", "application/octet-stream"},
		{"a call with a type name", "POST", "com.example/echo/a%2F%2Fb%20c?namespace=team", deploy, "", "com.example/x", "{}", 200, "{}", "com.example/x", "application/octet-stream"},
		{"an answer without a value", "POST", "com.example/echo/a?namespace=team", deploy, plain, "", "nothing", 204, "", "io.weir/bytes", ""},
		{"no answer", "POST", "com.example/echo/silent?namespace=team&timeout=50ms", deploy, "", "", "1", 504, `"code":"deadline_exceeded"`, "", "application/json"},
		{"no such type", "PUT", "com.example/ech/a?namespace=team", deploy, "", "", "1", 404, "did you mean com.example/echo?", "", "application/json"},
		{"JSON that is none", "PUT", "com.example/echo/a?namespace=team", deploy, "application/json", "", "{", 400, "is called JSON and is none", "", ""},
		{"a timeout that is none", "POST", "com.example/echo/a?namespace=team&timeout=soon", deploy, "", "", "1", 400, "write it like 500ms or 5s", "", ""},
		{"committed or not", "POST", "com.example/echo/a?namespace=team&committed=perhaps", deploy, "", "", "1", 400, "write true or false", "", ""},
		{"too long", "POST", "com.example/echo/a?namespace=team&timeout=6m", deploy, "", "", "1", 400, "the limit is 5m", "", ""},
		{"too large", "PUT", "com.example/echo/a?namespace=team", deploy, "", "", strings.Repeat("1", functions.MaxValueBytes+1), 413, "1048576 bytes, the limit", "", ""},
		{"no id", "PUT", "com.example/echo/?namespace=team", deploy, "", "", "1", 400, "an id of 0 bytes", "", ""},
		{"another method", "GET", "com.example/echo/a?namespace=team", deploy, "", "", "", 405, "", "", ""},
		{"nobody", "PUT", "com.example/echo/a?namespace=team", "", "", "", "1", 401, "", "", ""},
		{"a reader", "PUT", "com.example/echo/a?namespace=team", reader, "", "", "1", 403, "a message to a function needs deploy", "", ""},
		{"another namespace's", "PUT", "com.example/echo/a?namespace=team", elsewhere, "", "", "1", 403, "is for namespace default, and the call is about namespace team", "", ""},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, g.url+"/v1/functions/"+c.path, strings.NewReader(c.body))
		must(t, err)
		for name, v := range map[string]string{"Content-Type": c.content, "Weir-Typename": c.typename} {
			if v != "" {
				r.Header.Set(name, v)
			}
		}
		if c.token != "" {
			r.Header.Set("Authorization", "Bearer "+c.token)
		}
		a, err := trusting().Do(r)
		must(t, err)
		body, err := io.ReadAll(a.Body)
		must(t, err)
		must(t, a.Body.Close())
		if a.StatusCode != c.status || !strings.Contains(string(body), c.want) || a.Header.Get("Weir-Typename") != c.wantTypename || c.wantContent != "" && a.Header.Get("Content-Type") != c.wantContent {
			t.Errorf("%s: status %d, type name %q, content %q: %s", c.name, a.StatusCode, a.Header.Get("Weir-Typename"), a.Header.Get("Content-Type"), body)
		}
	}
}

func TestFunctionsAreReachedByTheAPI(t *testing.T) {
	g := shop(t)
	g.echo()
	client := trusting()
	client.Transport = bearer{g.token(catalog.RoleDeploy, "team", 0), client.Transport}
	for _, protocol := range []connect.ClientOption{connect.WithHTTPGet(), connect.WithGRPC(), connect.WithProtoJSON()} {
		c := weirv1connect.NewFunctionServiceClient(client, g.url, protocol)
		m := &weirv1.FunctionMessage{Type: "com.example/echo", Id: "a", Value: []byte("7")}
		if a := call(t, c.Send, &weirv1.SendRequest{Namespace: "team", Messages: []*weirv1.FunctionMessage{m, m}}); a.GetStored() != 2 {
			t.Errorf("send: %v", a)
		}
		if a := call(t, c.Call, &weirv1.CallRequest{Namespace: "team", Message: m}); string(a.GetValue()) != "7" {
			t.Errorf("call: %v", a)
		}
		if a := call(t, c.ListFunctions, &weirv1.ListFunctionsRequest{Namespace: "team"}); len(a.GetFunctions()) != 1 || a.GetFunctions()[0].GetPipeline() != "shop" {
			t.Errorf("list: %v", a)
		}
		silent := &weirv1.FunctionMessage{Type: "com.example/echo", Id: "silent"}
		text, problems := refused(t, connect.CodeDeadlineExceeded, c.Call, &weirv1.CallRequest{Namespace: "team", Message: silent, TimeoutMs: 50})
		if !strings.Contains(text, "no answer in time: 50ms have passed") || len(problems) != 1 || !strings.Contains(problems[0].GetHint(), "idempotency-key") {
			t.Errorf("no answer: %s %v", text, problems)
		}
		refused(t, connect.CodePermissionDenied, c.Send, &weirv1.SendRequest{Messages: []*weirv1.FunctionMessage{m}})
	}
}
