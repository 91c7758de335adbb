package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"syscall"
	"time"

	"connectrpc.com/connect"
	"github.com/nats-io/nats.go"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/api/weir/v1/weirv1connect"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/server"
)

// rig is a server on an empty directory and clients of it.
type rig struct {
	server    *server.Server // nil if it is a process of its own
	halt      func() error   // ends what is not in this process
	dir       string
	conn      *nats.Conn
	topics    weirv1connect.TopicServiceClient
	modules   weirv1connect.ModuleServiceClient
	pipelines weirv1connect.PipelineServiceClient
}

func newRig(ctx context.Context) (*rig, error) { return newRigOf(ctx, server.Options{}) }

// newRigOf sets what every rig has in common in the options.
func newRigOf(ctx context.Context, o server.Options) (*rig, error) {
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return nil, err
	}
	o.DataDir, o.Listen, o.NATSListen = dir, "127.0.0.1:0", "127.0.0.1:0"
	o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	s, err := server.Start(ctx, o)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	r := &rig{
		server: s, dir: dir,
		topics:    weirv1connect.NewTopicServiceClient(http.DefaultClient, s.URL()),
		modules:   weirv1connect.NewModuleServiceClient(http.DefaultClient, s.URL()),
		pipelines: weirv1connect.NewPipelineServiceClient(http.DefaultClient, s.URL()),
	}
	if r.conn, err = nats.Connect(s.NATSURL()); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *rig) close() error {
	if r.conn != nil {
		r.conn.Close()
	}
	if r.server == nil {
		return errors.Join(r.halt(), os.RemoveAll(r.dir))
	}
	return errors.Join(r.server.Close(), os.RemoveAll(r.dir))
}

func (r *rig) topic(ctx context.Context, name string, layout weirv1.Layout) (jetstream.Topic, error) {
	m, err := r.topics.CreateTopic(ctx, connect.NewRequest(&weirv1.CreateTopicRequest{Name: name, Partitions: 8, Layout: layout}))
	if err != nil {
		return jetstream.Topic{}, err
	}
	t := jetstream.Topic{Name: name, Partitions: 8, Incarnation: m.Msg.Topic.Incarnation, Stream: m.Msg.Topic.Stream, Layout: jetstream.Frames}
	if layout == weirv1.Layout_LAYOUT_RECORDS {
		t.Layout = jetstream.Records
	}
	return t.Normalize(), nil
}

func (r *rig) push(ctx context.Context, name, file string) error {
	wasm, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%w; build it by: go tool task guests:bench", err)
	}
	_, err = r.modules.PushModule(ctx, connect.NewRequest(&weirv1.PushModuleRequest{Name: name, Wasm: wasm}))
	return err
}

func (r *rig) apply(ctx context.Context, file string) error {
	_, err := r.pipelines.ApplyPipeline(ctx, connect.NewRequest(&weirv1.ApplyPipelineRequest{File: file}))
	return err
}

// remove stops a pipeline and deletes it, and the topic of its name, that the
// next one finds the same disk.
func (r *rig) remove(ctx context.Context, name string) error {
	if _, err := r.pipelines.StopPipeline(ctx, connect.NewRequest(&weirv1.StopPipelineRequest{Name: name})); err != nil {
		return err
	}
	err := r.until(ctx, name, func(s *weirv1.PipelineStatus) bool { return s.Pipeline.State == "stopped" })
	if err != nil {
		return err
	}
	if _, err = r.pipelines.DeletePipeline(ctx, connect.NewRequest(&weirv1.DeletePipelineRequest{Name: name})); err != nil {
		return err
	}
	return r.removeTopic(ctx, name)
}

func (r *rig) removeTopic(ctx context.Context, name string) error {
	_, err := r.topics.DeleteTopic(ctx, connect.NewRequest(&weirv1.DeleteTopicRequest{Name: name}))
	return err
}

// until polls a pipeline's status, every 50 ms, until it is as wanted.
func (r *rig) until(ctx context.Context, name string, done func(*weirv1.PipelineStatus) bool) error {
	for {
		m, err := r.pipelines.GetPipeline(ctx, connect.NewRequest(&weirv1.GetPipelineRequest{Name: name}))
		if err != nil {
			return err
		}
		if m.Msg.Status.Pipeline.State == "failed" {
			return fmt.Errorf("pipeline %s failed: %s", name, m.Msg.Status.Pipeline.Error)
		}
		if done(m.Msg.Status) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// taken is how many records an operator has taken.
func taken(s *weirv1.PipelineStatus, operator string) uint64 {
	for _, o := range s.Operators {
		if o.Operator == operator {
			return o.RecordsIn
		}
	}
	return 0
}

// cpu is the processor time of this process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// quantile of sorted values.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return values[min(int(q*float64(len(values))), len(values)-1)]
}
