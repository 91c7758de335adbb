package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/operator/all"
	"github.com/weirstream/weir/platform/operator/sink"
	"github.com/weirstream/weir/platform/operator/source"
	"github.com/weirstream/weir/platform/operator/udf"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/storage/state/arena"
	"github.com/weirstream/weir/platform/worker"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// Input opens a source's lines.
type Input func() (io.ReadCloser, error)

// Options of a bounded run.
type Options struct {
	Pipeline    string            // path of the file
	Inputs      map[string]Input  // by source; "" is the only one
	Modules     map[string]string // .wasm files by name
	Parallelism int               // 0: as the file says
	// Write takes a line of a sink, one at a time. Sink is its name; dead letters come with an empty one.
	Write    func(sink string, line []byte) error
	Log      *slog.Logger
	Progress func(in, out uint64)
}

const (
	progressEvery   = 200 * time.Millisecond
	sinkPrefix      = "sink."
	deadLettersSink = "dead_letters"
)

// Run runs a pipeline until its input is through.
func Run(ctx context.Context, o Options) (err error) {
	p, err := open(ctx, o.Pipeline, o.Modules)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if p.file.Functions != nil {
		return fmt.Errorf("pipeline %s has stateful functions, which do not end with their input: nobody can see that a cycle is done, and a delayed message may be years away; try it with weir dev, or run it on a server: weir pipeline apply %s", p.file.Name.Value, o.Pipeline)
	}
	if o.Parallelism > 0 {
		p.file.Parallelism = o.Parallelism
	}
	inputs := map[string]Input{}
	for name, open := range o.Inputs {
		source, err := p.sourceNamed(name)
		if err != nil {
			return err
		}
		inputs[source] = open
	}
	for _, s := range p.file.Sources {
		if inputs[s.Name.Value] == nil {
			return fmt.Errorf("source %s has no input; add --input %s=FILE", s.Name.Value, s.Name.Value)
		}
	}
	plan, err := p.plan(o.Pipeline)
	if err != nil {
		return err
	}
	var in, out atomic.Uint64
	var writing sync.Mutex
	begun := map[string]bool{}
	r := &reporter{ended: make(chan struct{}), failed: make(chan error, 1)}
	w := worker.New(worker.Options{
		ID: "local", Log: quiet(o.Log), Blobs: memblob.New(memblob.Options{}), Clock: time.Now, Reporter: r,
		NewState: func(_ jobgraph.Backend, o state.Options) (state.Backend, error) { return arena.Open(o) },
		NewOperator: func(kind string) (operator.Operator, error) {
			switch kind {
			case source.Kind:
				return &lineSource{read: &in, open: func(name string) (io.ReadCloser, error) { return inputs[name]() }}, nil
			case sink.Kind:
				return &lineSink{mu: &writing, written: &out, begun: begun, write: func(id string, line []byte) error { return o.Write(sinkName(id), line) }}, nil
			case udf.Kind:
				return udf.New(udf.Deps{Modules: p.modules}), nil
			}
			if n, ok := all.Natives[kind]; ok {
				return n.New(), nil
			}
			if placed, ok := all.Placed[kind]; ok {
				return placed(), nil
			}
			return nil, fmt.Errorf("no operator kind %q in a bounded run", kind)
		},
	})
	defer w.Close()
	if err := w.Start(worker.Start{Pipeline: p.file.Name.Value, UID: "local", Attempt: 1, Graph: plan.Graph}); err != nil {
		return err
	}
	return r.wait(ctx, func() {
		if o.Progress != nil {
			o.Progress(in.Load(), out.Load())
		}
	})
}

// sinkName is a sink's name in the file; empty for dead letters.
func sinkName(id string) string {
	if id == deadLettersSink {
		return ""
	}
	return strings.TrimPrefix(id, sinkPrefix)
}

// reporter waits for the end of a run.
type reporter struct {
	ended  chan struct{} // closed when every task has seen the end
	failed chan error
}

func (r *reporter) wait(ctx context.Context, tell func()) error {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	defer tell()
	for {
		select {
		case <-r.ended:
			return nil
		case err := <-r.failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			tell()
		}
	}
}

func (r *reporter) Running(string, uint64)               {}
func (r *reporter) Acknowledged(worker.Ack)              {}
func (r *reporter) Stuck(string, uint64, uint64, string) {}
func (r *reporter) Published(string, uint64, uint64)     {}
func (r *reporter) Ended(string, uint64)                 { close(r.ended) }
func (r *reporter) Failed(f worker.Failure)              { r.failed <- f.Err }
