// Command demo shows Weir at work: it starts a server in this process, deploys
// examples/01-flights, feeds it real flights and prints the alerts as they come.
// It uses the server as anybody would, through its API, and must not know more.
package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/api/weir/v1/weirv1connect"
	"github.com/weirstream/weir/platform/server"
)

const (
	folder     = "examples/01-flights"
	preferred  = "127.0.0.1:7070"
	batchSize  = 500
	quietFor   = 4 * time.Second // no alert for so long: the input is through
	giveUpLate = 60 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "weir-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := server.Start(ctx, server.Options{DataDir: dir, Listen: freeAddress(), Version: "demo", Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))})
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Printf("Weir is ready at %s\n", s.URL())
	d := demo{
		topics:    weirv1connect.NewTopicServiceClient(http.DefaultClient, s.URL()),
		modules:   weirv1connect.NewModuleServiceClient(http.DefaultClient, s.URL()),
		pipelines: weirv1connect.NewPipelineServiceClient(http.DefaultClient, s.URL()),
	}
	if err := d.deploy(ctx); err != nil {
		return err
	}
	started := time.Now()
	alerts := make(chan alert, 1024)
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	go d.read(reading, alerts)
	flights, err := d.feed(ctx)
	if err != nil {
		return err
	}
	if err := d.show(ctx, alerts, flights, started); err != nil {
		return err
	}
	fmt.Printf("\nThe server stays at %s until Ctrl-C. Try, in another terminal:\n", s.URL())
	fmt.Printf("    bin/weir --server %s pipeline status flights\n    bin/weir --server %s topic read alerts --from start --until-end\n", s.URL(), s.URL())
	<-ctx.Done()
	return nil
}

// freeAddress is the usual port, or any if that is taken.
func freeAddress() string {
	l, err := net.Listen("tcp", preferred)
	if err != nil {
		return "127.0.0.1:0"
	}
	l.Close()
	return preferred
}

type demo struct {
	topics    weirv1connect.TopicServiceClient
	modules   weirv1connect.ModuleServiceClient
	pipelines weirv1connect.PipelineServiceClient
}

// alert is a row of the topic alerts.
type alert map[string]any

func (a alert) text() string {
	b, err := json.Marshal(a)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (d demo) deploy(ctx context.Context) error {
	for _, topic := range []string{"flights", "alerts"} {
		if _, err := d.topics.CreateTopic(ctx, connect.NewRequest(&weirv1.CreateTopicRequest{Name: topic, Partitions: 4})); err != nil {
			return err
		}
		fmt.Printf("topic %s, 4 partitions\n", topic)
	}
	wasm, err := os.ReadFile(filepath.Join(folder, "flights.wasm"))
	if err != nil {
		return fmt.Errorf("%w; build it by: go tool task guests:flights", err)
	}
	if _, err := d.modules.PushModule(ctx, connect.NewRequest(&weirv1.PushModuleRequest{Name: "flights", Wasm: wasm})); err != nil {
		return err
	}
	fmt.Printf("module flights, %d KiB of WebAssembly made from %s/flights.go\n", len(wasm)>>10, folder)
	file, err := os.ReadFile(filepath.Join(folder, "pipeline.yaml"))
	if err != nil {
		return err
	}
	applied, err := d.pipelines.ApplyPipeline(ctx, connect.NewRequest(&weirv1.ApplyPipelineRequest{File: string(file)}))
	if err != nil {
		return err
	}
	fmt.Printf("pipeline %s, revision %d\n\n", applied.Msg.Pipeline.Name, applied.Msg.Pipeline.Revision)
	return nil
}

// feed publishes the flights, keyed by origin.
func (d demo) feed(ctx context.Context) (int, error) {
	f, err := os.Open(filepath.Join(folder, "data", "flights-20k.jsonl.gz"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return 0, err
	}
	n := 0
	var records []*weirv1.Record
	send := func() error {
		if len(records) == 0 {
			return nil
		}
		_, err := d.topics.Publish(ctx, connect.NewRequest(&weirv1.PublishRequest{Topic: "flights", Records: records}))
		n += len(records)
		records = nil
		return err
	}
	lines := bufio.NewScanner(z)
	for lines.Scan() {
		var flight struct {
			Origin string `json:"origin"`
		}
		line := append([]byte(nil), lines.Bytes()...)
		if err := json.Unmarshal(line, &flight); err != nil {
			return n, err
		}
		records = append(records, &weirv1.Record{Key: []byte(flight.Origin), Value: line})
		if len(records) == batchSize {
			if err := send(); err != nil {
				return n, err
			}
		}
	}
	return n, errors.Join(lines.Err(), send())
}

// read follows the topic alerts until ctx ends.
func (d demo) read(ctx context.Context, alerts chan<- alert) {
	stream, err := d.topics.Read(ctx, connect.NewRequest(&weirv1.ReadRequest{Topic: "alerts", From: &weirv1.ReadRequest_Start{Start: true}}))
	if err != nil {
		return
	}
	defer stream.Close()
	for stream.Receive() {
		for _, r := range stream.Msg().Records {
			text := r.Json
			if text == "" {
				text = string(r.Value)
			}
			var a alert
			if json.Unmarshal([]byte(text), &a) == nil {
				alerts <- a
			}
		}
	}
}

func (d demo) show(ctx context.Context, alerts <-chan alert, flights int, started time.Time) error {
	const most = 25
	count, perOrigin := 0, map[string]int{}
	last := started
	for late := time.After(giveUpLate); ; {
		select {
		case a := <-alerts:
			count++
			last = time.Now()
			origin, _ := a["origin"].(string)
			perOrigin[origin]++
			if count <= most {
				fmt.Printf("alert %s\n", a.text())
			} else if count == most+1 {
				fmt.Println("…")
			}
		case <-time.After(quietFor):
			if count > 0 {
				worst := ""
				for origin, n := range perOrigin {
					if worst == "" || n > perOrigin[worst] || n == perOrigin[worst] && origin < worst {
						worst = origin
					}
				}
				fmt.Printf("\n%d flights in, %d alerts out at %d airports in %.1f s; most at %s (%d). Each exactly once, also if the server had been killed.\n",
					flights, count, len(perOrigin), last.Sub(started).Seconds(), worst, perOrigin[worst])
				return nil
			}
		case <-late:
			return errors.New("no alert came; see: bin/weir pipeline status flights")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
