package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"connectrpc.com/connect"
	"github.com/nats-io/nats.go"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/api/weir/v1/weirv1connect"
)

// Namespace is where the tests work.
const Namespace = "default"

// pollEvery is how often a state that has no event is looked at.
const pollEvery = 50 * time.Millisecond

// Client is the API of a server.
type Client struct {
	Topics    weirv1connect.TopicServiceClient
	Modules   weirv1connect.ModuleServiceClient
	Pipelines weirv1connect.PipelineServiceClient
	System    weirv1connect.SystemServiceClient
	Workers   weirv1connect.WorkerServiceClient
	Functions weirv1connect.FunctionServiceClient
}

// NewClient makes a client; nothing is dialled yet.
func NewClient(url string) *Client {
	h := &http.Client{Transport: &http.Transport{}}
	return &Client{
		Topics:    weirv1connect.NewTopicServiceClient(h, url),
		Modules:   weirv1connect.NewModuleServiceClient(h, url),
		Pipelines: weirv1connect.NewPipelineServiceClient(h, url),
		System:    weirv1connect.NewSystemServiceClient(h, url),
		Workers:   weirv1connect.NewWorkerServiceClient(h, url),
		Functions: weirv1connect.NewFunctionServiceClient(h, url),
	}
}

// CreateTopic creates a topic and gives its description.
func (c *Client) CreateTopic(ctx context.Context, name string, partitions int, layout weirv1.Layout) (*weirv1.Topic, error) {
	r, err := c.Topics.CreateTopic(ctx, connect.NewRequest(&weirv1.CreateTopicRequest{
		Namespace: Namespace, Name: name, Partitions: uint32(partitions), Layout: layout,
	}))
	if err != nil {
		return nil, fmt.Errorf("create topic %s: %w", name, err)
	}
	return r.Msg.Topic, nil
}

// Topic describes a topic.
func (c *Client) Topic(ctx context.Context, name string) (*weirv1.GetTopicResponse, error) {
	r, err := c.Topics.GetTopic(ctx, connect.NewRequest(&weirv1.GetTopicRequest{Namespace: Namespace, Name: name}))
	if err != nil {
		return nil, fmt.Errorf("get topic %s: %w", name, err)
	}
	return r.Msg, nil
}

// PushModule pushes a module from a file.
func (c *Client) PushModule(ctx context.Context, name, path string) error {
	wasm, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if _, err := c.Modules.PushModule(ctx, connect.NewRequest(&weirv1.PushModuleRequest{Namespace: Namespace, Name: name, Wasm: wasm})); err != nil {
		return fmt.Errorf("push module %s: %w", name, err)
	}
	return nil
}

// Apply applies a pipeline file.
func (c *Client) Apply(ctx context.Context, file string) (*weirv1.Pipeline, error) {
	r, err := c.Pipelines.ApplyPipeline(ctx, connect.NewRequest(&weirv1.ApplyPipelineRequest{Namespace: Namespace, File: file}))
	if err != nil {
		return nil, fmt.Errorf("apply pipeline: %w", err)
	}
	return r.Msg.Pipeline, nil
}

// Status tells how a pipeline does.
func (c *Client) Status(ctx context.Context, name string) (*weirv1.PipelineStatus, error) {
	r, err := c.Pipelines.GetPipeline(ctx, connect.NewRequest(&weirv1.GetPipelineRequest{Namespace: Namespace, Name: name}))
	if err != nil {
		return nil, fmt.Errorf("get pipeline %s: %w", name, err)
	}
	return r.Msg.Status, nil
}

// Stop stops a pipeline.
func (c *Client) Stop(ctx context.Context, name string) error {
	_, err := c.Pipelines.StopPipeline(ctx, connect.NewRequest(&weirv1.StopPipelineRequest{Namespace: Namespace, Name: name}))
	if err != nil {
		return fmt.Errorf("stop pipeline %s: %w", name, err)
	}
	return nil
}

// Resume starts a stopped pipeline again.
func (c *Client) Resume(ctx context.Context, name string) error {
	_, err := c.Pipelines.ResumePipeline(ctx, connect.NewRequest(&weirv1.ResumePipelineRequest{Namespace: Namespace, Name: name}))
	if err != nil {
		return fmt.Errorf("resume pipeline %s: %w", name, err)
	}
	return nil
}

// Rescale asks for another parallelism.
func (c *Client) Rescale(ctx context.Context, name string, parallelism int) error {
	_, err := c.Pipelines.RescalePipeline(ctx, connect.NewRequest(&weirv1.RescalePipelineRequest{Namespace: Namespace, Name: name, Parallelism: uint32(parallelism)}))
	if err != nil {
		return fmt.Errorf("rescale pipeline %s: %w", name, err)
	}
	return nil
}

// AwaitState waits until the job is in one of the states, and fails at once if
// it has failed or finished instead.
func (c *Client) AwaitState(ctx context.Context, name string, states ...string) (*weirv1.PipelineStatus, error) {
	return c.Await(ctx, name, fmt.Sprintf("to be %v", states), func(s *weirv1.PipelineStatus) bool {
		return slices.Contains(states, s.Pipeline.State)
	})
}

// Await waits until the status is as wanted. A job that failed is not waited for.
func (c *Client) Await(ctx context.Context, name, what string, wanted func(*weirv1.PipelineStatus) bool) (*weirv1.PipelineStatus, error) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var last *weirv1.PipelineStatus
	for {
		s, err := c.Status(ctx, name)
		if err == nil {
			if wanted(s) {
				return s, nil
			}
			if s.Pipeline.State == "failed" {
				return s, fmt.Errorf("pipeline %s failed: %s", name, s.Pipeline.Error)
			}
			last = s
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return last, fmt.Errorf("wait for pipeline %s %s: %w; last: %v", name, what, context.Cause(ctx), last)
		}
	}
}

// DialNATS connects as a plain client that comes back after each death of the server.
func DialNATS(url string) (*nats.Conn, error) {
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.RetryOnFailedConnect(true), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), nats.ReconnectBufSize(-1), nats.Timeout(time.Second))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", url, err)
	}
	return nc, nil
}
