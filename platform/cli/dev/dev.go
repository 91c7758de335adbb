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

// look is how often the project's files are looked at.
const look = 250 * time.Millisecond

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
			DataDir: data, Listen: o.Listen, Durability: cli.Interval, Log: o.Log, LogLevel: "warn", LogFormat: "text",
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

// loop is one run; all of it belongs to one goroutine but what follow starts.
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
	seen := l.snapshot()
	l.cycle(ctx)
	tick := time.NewTicker(look)
	defer tick.Stop()
	changed := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			return fmt.Errorf("the server ended: %w", err)
		case <-tick.C:
		}
		// An editor may write a file in steps: wait until two looks agree.
		now := l.snapshot()
		switch {
		case now != seen:
			seen, changed = now, true
		case changed:
			changed = false
			l.options.Say(cli.DevEvent{Step: cli.DevChanged, Text: l.options.Dir})
			l.cycle(ctx)
		}
		l.feed(ctx)
	}
}

// cycle builds, pushes and applies once; whatever fails leaves the running revision alone.
func (l *loop) cycle(ctx context.Context) {
	if err := l.try(ctx); err != nil && ctx.Err() == nil {
		l.options.Say(cli.DevEvent{Step: cli.DevFailed, Text: describe(err)})
	}
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
	return text
}
