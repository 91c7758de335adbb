// Package dev is `weir dev`: a throw-away server, and a loop that builds, pushes
// and applies a project at every change of its files. All it asks of the server
// goes through the API. It must not know how a server is built.
package dev

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/api/weir/v1/weirv1connect"
	"github.com/weirstream/weir/platform/cli"
)

// How quick the loop is: a change counts once no other has followed for settle;
// files that are fed, and dead letters, are looked at every look.
const (
	settle = 150 * time.Millisecond
	look   = 250 * time.Millisecond
)

// Server runs a server until the context ends.
type Server func(ctx context.Context, o cli.ServerOptions) error

// Run works on a project until the context ends.
func Run(ctx context.Context, o cli.DevOptions, server Server) (err error) {
	feeds, err := parseFeeds(o.Topics)
	if err != nil {
		return err
	}
	data, err := os.MkdirTemp("", "weir-dev-")
	if err != nil {
		return fmt.Errorf("make a folder for the server: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()

	ready, ended := make(chan string, 1), make(chan error, 1)
	running.Go(func() {
		ended <- server(ctx, cli.ServerOptions{
			StateMiB: cli.DefaultStateMiB,
			DataDir:  data, Listen: o.Listen, Durability: cli.Interval, Log: o.Log, LogLevel: "warn", LogFormat: "text",
			Ready: func(url string) { ready <- url },
		})
	})
	l := &loop{options: o, feeds: feeds, running: &running, following: map[string]bool{}}
	select {
	case url := <-ready:
		l.connect(url)
		o.Say(cli.DevEvent{Step: cli.DevReady, Text: url})
	case err := <-ended:
		return fmt.Errorf("start a server: %w", err)
	case <-ctx.Done():
		return ctx.Err()
	}
	return l.run(ctx, ended)
}

// loop is one run. Its feeds and what is followed belong to run; a cycle uses
// the options and the clients alone.
type loop struct {
	options   cli.DevOptions
	feeds     []*feed
	running   *sync.WaitGroup
	following map[string]bool // topics and pipelines whose output is shown

	topics    weirv1connect.TopicServiceClient
	modules   weirv1connect.ModuleServiceClient
	pipelines weirv1connect.PipelineServiceClient
}

func (l *loop) connect(url string) {
	l.topics = weirv1connect.NewTopicServiceClient(http.DefaultClient, url)
	l.modules = weirv1connect.NewModuleServiceClient(http.DefaultClient, url)
	l.pipelines = weirv1connect.NewPipelineServiceClient(http.DefaultClient, url)
}

func (l *loop) run(ctx context.Context, ended <-chan error) error {
	changes, err := newWatch(l.options)
	if err != nil {
		return err
	}
	defer changes.close()
	seen := l.snapshot()
	c := l.start(ctx)
	defer func() { c.stop() }()
	quiet := time.NewTimer(settle)
	quiet.Stop()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			return fmt.Errorf("the server ended: %w", err)
		case p := <-c.done:
			l.follow(ctx, p)
		case <-tick.C:
			l.feed(ctx)
		case err := <-changes.errors():
			l.options.Say(cli.DevEvent{Step: cli.DevFailed, Text: "watch files: " + err.Error()})
			quiet.Reset(settle) // events may be lost: look
		case <-changes.events():
			quiet.Reset(settle) // an editor may write a file in steps
		case <-quiet.C:
			if err := changes.add(); err != nil {
				l.options.Say(cli.DevEvent{Step: cli.DevFailed, Text: err.Error()})
			}
			if now := l.snapshot(); now != seen {
				seen = now
				c.stop()
				select {
				case p := <-c.done: // it was applied just before
					l.follow(ctx, p)
				default:
				}
				l.options.Say(cli.DevEvent{Step: cli.DevChanged, Text: l.options.Dir})
				c = l.start(ctx)
			}
		}
	}
}

// cycle is one way through build, push and apply.
type cycle struct {
	done   chan project // takes what was applied
	ended  chan struct{}
	cancel context.CancelFunc
}

// start begins a cycle; whatever fails leaves the running revision alone.
func (l *loop) start(ctx context.Context) *cycle {
	ctx, cancel := context.WithCancel(ctx)
	c := &cycle{done: make(chan project, 1), ended: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(c.ended)
		p, err := l.try(ctx)
		switch {
		case err == nil:
			c.done <- p
		case ctx.Err() == nil:
			l.options.Say(cli.DevEvent{Step: cli.DevFailed, Text: describe(err)})
		}
	}()
	return c
}

// stop gives up what a newer change has made stale, and waits until it is gone.
func (c *cycle) stop() {
	c.cancel()
	<-c.ended
}

// describe says an error with its hint, where the server attached one.
func describe(err error) string {
	var wire *connect.Error
	if !errors.As(err, &wire) {
		return err.Error()
	}
	text := strings.Replace(err.Error(), wire.Error(), wire.Message(), 1)
	for _, d := range wire.Details() {
		v, verr := d.Value()
		p, ok := v.(*weirv1.Problem)
		if verr != nil || !ok {
			continue
		}
		if p.GetLine() > 0 {
			text += fmt.Sprintf("\n  %d:%d: %s", p.GetLine(), p.GetColumn(), p.GetMessage())
		}
		if p.GetHint() != "" {
			text += "\n  " + p.GetHint()
		}
	}
	if wire.Code() == connect.CodeFailedPrecondition { // state forbids it
		text += afresh
	}
	return text
}
