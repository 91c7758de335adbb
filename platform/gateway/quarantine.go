package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/operator/remote"
	"github.com/weirstream/weir/platform/planner"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// maxQuarantined is how many addresses one answer lists.
const maxQuarantined = 1000

// remoteOf finds the operator that calls the server of a type's functions.
func remoteOf(g *jobgraph.Graph, typ string) *jobgraph.Operator {
	if _, _, own := g.Operator(typ); own {
		return nil // a module's function goes before a pattern
	}
	for i := range g.Stages {
		for j := range g.Stages[i].Operators {
			if o := &g.Stages[i].Operators[j]; o.Kind == remote.Kind && functions.Covers(planner.RemoteTypes(g, o), typ) {
				return o
			}
		}
	}
	return nil
}

// addressKey is the key of an address's state in an operator that keeps many types.
func addressKey(typ, id string) string {
	b, err := json.Marshal([]string{typ, id})
	if err != nil {
		panic(fmt.Sprintf("gateway: texts are JSON: %v", err))
	}
	return string(b)
}

// Quarantine lists addresses that are set aside, as of the newest checkpoints.
func (g *Gateway) Quarantine(ctx context.Context, r *weirv1.ListQuarantineRequest) (*weirv1.ListQuarantineResponse, error) {
	namespace := topics.Namespace(r.GetNamespace())
	var of []*catalog.Pipeline
	if r.GetType() != "" {
		p, err := g.pipelineOf(ctx, "list what is in quarantine", namespace, r.GetType())
		if err != nil {
			return nil, err
		}
		of = []*catalog.Pipeline{p}
	} else {
		for p := range g.options.Node.View().Pipelines(namespace) {
			of = append(of, p)
		}
	}
	out := &weirv1.ListQuarantineResponse{}
	for _, p := range of {
		graph, err := g.options.Pipelines.Graph(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("list what is in quarantine: %w", err)
		}
		for i := range graph.Stages {
			for j := range graph.Stages[i].Operators {
				if o := &graph.Stages[i].Operators[j]; o.Kind == remote.Kind {
					if err := g.quarantineOf(ctx, p, o.ID, r, out); err != nil {
						return nil, fmt.Errorf("list what is in quarantine of pipeline %s: %w", p.Name, err)
					}
				}
			}
		}
	}
	return out, nil
}

// quarantineOf adds those of one operator.
func (g *Gateway) quarantineOf(ctx context.Context, p *catalog.Pipeline, operator string, r *weirv1.ListQuarantineRequest, out *weirv1.ListQuarantineResponse) error {
	add := func(e *weirv1.StateEntry) error {
		var key []string
		var q remote.Quarantine
		if json.Unmarshal([]byte(e.GetKey()), &key) != nil || len(key) != 2 || json.Unmarshal([]byte(e.GetValue()), &q) != nil {
			return nil // it is shown by weir state dump, with what is wrong with it
		}
		if r.GetType() != "" && r.GetType() != key[0] || r.GetId() != "" && r.GetId() != key[1] {
			return nil
		}
		if len(out.GetFunctions()) == maxQuarantined {
			out.More = true
			return errEnough
		}
		out.Functions = append(out.Functions, &weirv1.QuarantinedFunction{
			Type: key[0], Id: key[1], Pipeline: p.Name, Reason: q.Reason, Since: timestamppb.New(time.UnixMicro(q.SinceMicros)), Tries: uint32(q.Tries),
		})
		return nil
	}
	before := len(out.GetFunctions())
	err := g.options.State.Dump(ctx, &weirv1.DumpStateRequest{Namespace: p.Namespace, Pipeline: p.Name, Operator: operator, State: remote.QuarantineState},
		func(page *weirv1.DumpStateResponse) error {
			for _, e := range page.GetEntries() {
				if err := add(e); err != nil {
					return err
				}
			}
			return nil
		})
	switch {
	case errors.Is(err, errEnough) || errors.Is(err, catalog.ErrNotFound): // no checkpoint yet: nobody is known to be there
	case err != nil:
		return err
	}
	for _, f := range out.GetFunctions()[before:] {
		if err := g.countMail(ctx, p, operator, f); err != nil {
			return err
		}
	}
	return nil
}

func (g *Gateway) countMail(ctx context.Context, p *catalog.Pipeline, operator string, f *weirv1.QuarantinedFunction) error {
	err := g.options.State.Get(ctx, &weirv1.GetStateRequest{
		Namespace: p.Namespace, Pipeline: p.Name, Operator: operator, Key: addressKey(f.GetType(), f.GetId()), State: remote.MailState,
	}, func(page *weirv1.GetStateResponse) error {
		f.Messages += uint64(len(page.GetEntries()))
		return nil
	})
	if errors.Is(err, catalog.ErrNotFound) {
		return nil // it has gone in the meantime
	}
	return err
}

// Control stores a command to an address that is set aside. It goes the way of
// messages, so that it takes effect once.
func (g *Gateway) Control(ctx context.Context, r *weirv1.ControlQuarantineRequest) (*weirv1.ControlQuarantineResponse, error) {
	address := functions.Address{Type: r.GetType(), ID: r.GetId()}
	command := map[weirv1.QuarantineAction]string{
		weirv1.QuarantineAction_QUARANTINE_ACTION_RELEASE: remote.Release, weirv1.QuarantineAction_QUARANTINE_ACTION_DROP: remote.Drop,
	}[r.GetAction()]
	what := fmt.Sprintf("%s %s", command, address)
	if err := address.Check(); err != nil {
		return nil, refuse(catalog.ErrInvalid, "%s: %w", what, err)
	}
	if command == "" {
		return nil, refuse(catalog.ErrInvalid, "command %s to %s: want release or drop", r.GetAction(), address)
	}
	p, err := g.pipelineOf(ctx, what, topics.Namespace(r.GetNamespace()), r.GetType())
	if err != nil {
		return nil, err
	}
	graph, err := g.options.Pipelines.Graph(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if remoteOf(graph, r.GetType()) == nil {
		return nil, hint(refuse(catalog.ErrInvalid, "%s: its functions are a module's, which are never set aside", what), "what they refuse is among the dead letters: weir deadletter list %s", p.Name)
	}
	m := &weirv1.FunctionMessage{Type: r.GetType(), Id: r.GetId(), Typename: functions.ControlTypename, Value: []byte(command)}
	if _, err := g.put(ctx, p, []*weirv1.FunctionMessage{m}, functions.CallID{}, ""); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return &weirv1.ControlQuarantineResponse{}, nil
}
