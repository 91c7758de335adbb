package gateway

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/operator/ingress"
	"github.com/weirstream/weir/platform/operator/remote"
	"github.com/weirstream/weir/platform/operator/udf"
	"github.com/weirstream/weir/platform/pipelines"
	"github.com/weirstream/weir/platform/planner"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// State gives what an address holds in a checkpoint.
func (g *Gateway) State(ctx context.Context, r *weirv1.GetFunctionStateRequest) (*weirv1.GetFunctionStateResponse, error) {
	address := functions.Address{Type: r.GetType(), ID: r.GetId()}
	what := "read state of " + address.String()
	if err := address.Check(); err != nil {
		return nil, refuse(catalog.ErrInvalid, "%s: %w", what, err)
	}
	p, err := g.pipelineOf(ctx, what, topics.Namespace(r.GetNamespace()), r.GetType())
	if err != nil {
		return nil, err
	}
	key, err := json.Marshal([]string{r.GetId()})
	if err != nil {
		return nil, err
	}
	graph, err := g.options.Pipelines.Graph(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	operator := r.GetType()
	far := remoteOf(graph, operator)
	if far != nil {
		operator, key = far.ID, []byte(addressKey(r.GetType(), r.GetId()))
	}
	out := &weirv1.GetFunctionStateResponse{Pipeline: p.Name}
	err = g.options.State.Get(ctx, &weirv1.GetStateRequest{Namespace: p.Namespace, Pipeline: p.Name, Operator: operator, Key: string(key), Checkpoint: r.GetCheckpoint()},
		func(page *weirv1.GetStateResponse) error {
			if page.GetOrigin() != nil {
				out.Origin = page.GetOrigin()
			}
			for _, e := range page.GetEntries() {
				if len(out.GetEntries()) == maxStateEntries {
					out.More = true
					return errEnough
				}
				if far == nil || showRemote(e) {
					out.Entries = append(out.Entries, e)
				}
			}
			out.More = out.GetMore() || page.GetMore()
			return nil
		})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return out, nil
}

// showRemote makes what it looks like to its function of an entry of a function
// elsewhere; false for what is the operator's own.
func showRemote(e *weirv1.StateEntry) bool {
	if e.GetState() != remote.ValuesState {
		return e.GetState() == remote.QuarantineState
	}
	text, err := strconv.Unquote(e.GetEntry())
	if err != nil {
		return true
	}
	name, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return true
	}
	value, err := remote.ShowValue(e.GetBytes())
	if err != nil {
		return true
	}
	e.State, e.Kind, e.Entry, e.Value, e.Bytes, e.Undecoded = string(name), "value", "", value, nil, ""
	return true
}

// errEnough ends reading at the limit of an answer.
var errEnough = errors.New("enough entries")

// List lists a namespace's types.
func (g *Gateway) List(ctx context.Context, r *weirv1.ListFunctionsRequest) (*weirv1.ListFunctionsResponse, error) {
	known, err := g.options.Pipelines.Types(ctx, topics.Namespace(r.GetNamespace()))
	if err != nil {
		return nil, fmt.Errorf("list functions: %w", err)
	}
	out := &weirv1.ListFunctionsResponse{}
	graphs := map[string]*jobgraph.Graph{}
	for _, t := range known {
		graph := graphs[t.Pipeline.UID]
		if graph == nil {
			if graph, err = g.options.Pipelines.Graph(ctx, t.Pipeline); err != nil {
				return nil, fmt.Errorf("list functions: %w", err)
			}
			graphs[t.Pipeline.UID] = graph
		}
		out.Functions = append(out.Functions, g.describe(graph, t.Name, t.Pipeline))
	}
	return out, nil
}

// describe tells of a type what the graph says.
func (g *Gateway) describe(graph *jobgraph.Graph, name string, p *catalog.Pipeline) *weirv1.FunctionType {
	out := &weirv1.FunctionType{Type: name, Pipeline: p.Name, State: string(p.Job.State)}
	_, o, ok := graph.Operator(name)
	if !ok || o.Kind != udf.Kind {
		if far := remoteOf(graph, name); far != nil {
			out.Remote = remote.URLOf(far.Config)
		}
		return out
	}
	var c udf.Config
	if json.Unmarshal(o.Config, &c) != nil {
		return out
	}
	out.ModuleDigest, out.Function = c.Module, c.Function
	if d, err := jobgraph.ParseDigest(c.Module); err == nil {
		out.Module = pipelines.ModuleName(g.options.Node.View(), p.Namespace, d)
	}
	return out
}

// Info tells of one type.
func (g *Gateway) Info(ctx context.Context, r *weirv1.GetFunctionRequest) (*weirv1.GetFunctionResponse, error) {
	what := "show function " + r.GetType()
	p, err := g.pipelineOf(ctx, what, topics.Namespace(r.GetNamespace()), r.GetType())
	if err != nil {
		return nil, err
	}
	graph, err := g.options.Pipelines.Graph(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	out := &weirv1.GetFunctionResponse{Function: g.describe(graph, r.GetType(), p), MessagesTopic: planner.MessagesTopic(p.Name)}
	if last := p.Job.Last; last != nil {
		out.LastCheckpoint = timestamppb.New(time.UnixMicro(last.Time))
	}
	stage, o, ok := graph.Operator(r.GetType())
	if far := remoteOf(graph, r.GetType()); far != nil {
		// What it keeps is known only to its server, and to whoever looks at an address.
		out.Function.Remote = remote.URLOf(far.Config)
		stage, _, ok = graph.Operator(far.ID)
		o = &jobgraph.Operator{}
	}
	if !ok {
		return nil, fmt.Errorf("%s: the graph of pipeline %s does not have it: %w", what, p.Name, catalog.ErrDamaged)
	}
	out.Parallelism = uint32(graph.Stages[stage].Parallelism)
	for _, st := range o.State {
		out.States = append(out.States, &weirv1.FunctionState{Name: st.Name, Kind: st.Kind, Form: st.Form, Codec: st.Codec, Value: st.Value, TtlMs: uint64(st.TTLMs), TtlOn: st.TTLOn})
	}
	for i := range graph.Stages {
		for j := range graph.Stages[i].Operators {
			describeEnd(out, &graph.Stages[i], j)
		}
	}
	if d := out.GetFunction().GetModuleDigest(); d != "" {
		if m, err := g.options.Pipelines.Manifest(ctx, d); err == nil {
			if f := m.Function(out.GetFunction().GetFunction()); f != nil {
				out.Doc = f.Doc
			}
		}
	}
	return out, nil
}

// describeEnd notes an operator by which messages come to the type or go from it.
func describeEnd(out *weirv1.GetFunctionResponse, s *jobgraph.Stage, at int) {
	o := &s.Operators[at]
	switch {
	case o.Kind == ingress.Kind:
		var c ingress.Config
		if json.Unmarshal(o.Config, &c) != nil || at == 0 {
			return
		}
		for _, to := range c.To {
			if to == out.GetFunction().GetType() {
				out.Ingress = append(out.Ingress, &weirv1.FunctionIngress{Topic: pipelines.TopicOf(&s.Operators[at-1]), Field: c.Field, Typename: c.Typename})
			}
		}
	case strings.HasPrefix(o.ID, planner.EgressPrefix):
		var c struct {
			Guarantee string `json:"guarantee"`
		}
		if json.Unmarshal(o.Config, &c) == nil {
			out.Egress = append(out.Egress, &weirv1.FunctionEgress{Id: strings.TrimPrefix(o.ID, planner.EgressPrefix), Topic: pipelines.TopicOf(o), Guarantee: c.Guarantee})
		}
	}
}
