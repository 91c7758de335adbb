package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/nats-io/nats.go"

	"github.com/weirstream/weir/abi/schema"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/api/weir/v1/weirv1connect"
	"github.com/weirstream/weir/platform/connector/jetstream"
)

const (
	weirBinary   = "bin/weir"
	httpAddress  = "127.0.0.1:17070"
	natsAddress  = "127.0.0.1:14222"
	processRuns  = 5
	restartKeys  = 1_000_000
	processLimit = 2 * time.Minute
)

// runProcess measures a server process from outside: ready on an empty
// directory, memory while idle, and restart after SIGKILL with a million keys.
func runProcess(ctx context.Context, _ *config) error {
	info, err := os.Stat(weirBinary)
	if err != nil {
		return fmt.Errorf("%w; build it by: go tool task build", err)
	}
	fmt.Printf("binary         %d MB\n", info.Size()>>20)
	var ready []float64
	for range processRuns {
		dir, err := os.MkdirTemp("", "weir-bench-")
		if err != nil {
			return err
		}
		p, took, err := startProcess(ctx, dir)
		if err != nil {
			return errors.Join(err, os.RemoveAll(dir))
		}
		ready = append(ready, took.Seconds()*1000)
		if len(ready) == processRuns {
			time.Sleep(3 * time.Second)
			fmt.Printf("idle           %d MiB resident\n", resident(p.Process.Pid)>>20)
		}
		if err := errors.Join(p.Process.Kill(), p.Wait(), os.RemoveAll(dir)); err != nil && !killed(err) {
			return err
		}
	}
	fmt.Printf("ready          %.0f ms on an empty directory (median of %d)\n", median(ready), processRuns)
	return restart(ctx)
}

func killed(err error) bool { return strings.Contains(err.Error(), "signal: killed") }

func startProcess(ctx context.Context, dir string) (*exec.Cmd, time.Duration, error) {
	begin := time.Now()
	p := exec.CommandContext(ctx, weirBinary, "server", "--data-dir", dir, "--listen", httpAddress, "--nats-listen", natsAddress, "--log-level", "error")
	p.Stderr = os.Stderr
	if err := p.Start(); err != nil {
		return nil, 0, err
	}
	for time.Since(begin) < processLimit {
		resp, err := http.Get("http://" + httpAddress + "/healthz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return p, time.Since(begin), nil
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
	return nil, 0, errors.New("the server did not get ready")
}

// resident is a process's memory in bytes.
func resident(pid int) int64 {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// restart fills a million keys, keeps records coming, kills the process and
// measures from the start of the next one to its first new output.
func restart(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p, _, err := startProcess(ctx, dir)
	if err != nil {
		return err
	}
	r := &rig{
		topics:    weirv1connect.NewTopicServiceClient(http.DefaultClient, "http://"+httpAddress),
		modules:   weirv1connect.NewModuleServiceClient(http.DefaultClient, "http://"+httpAddress),
		pipelines: weirv1connect.NewPipelineServiceClient(http.DefaultClient, "http://"+httpAddress),
	}
	if r.conn, err = nats.Connect("nats://" + natsAddress); err != nil {
		return err
	}
	in, err := r.topic(ctx, "in", weirv1.Layout_LAYOUT_FRAMES)
	if err != nil {
		return err
	}
	out, err := r.topic(ctx, "out", weirv1.Layout_LAYOUT_FRAMES)
	if err != nil {
		return err
	}
	if err := errors.Join(
		r.push(ctx, "count_sum", "sdk/c/bench/count_sum.wasm"),
		fill(ctx, r, in, restartKeys, func(_ *rand.Rand, i int) int64 { return int64(i) }),
		r.apply(ctx, `
pipeline: restart
parallelism: 2
sources:
  in: {topic: in, format: columns, columns: "`+flowSchema+`"}
operators:
  op: {module: count_sum, function: count_sum, input: in}
sinks:
  out: {topic: out, input: op, format: columns, key: key}
`)); err != nil {
		return err
	}
	if err := r.until(ctx, "restart", func(s *weirv1.PipelineStatus) bool {
		return taken(s, "sink.out") >= restartKeys && s.LastCheckpoint.GetPublished() && s.LagRecords == 0
	}); err != nil {
		return err
	}
	time.Sleep(2500 * time.Millisecond) // the last records' checkpoint
	fmt.Printf("with state     %d MiB resident, %d keys of 16 B\n", resident(p.Process.Pid)>>20, restartKeys)
	var took []float64
	for range processRuns {
		last, err := r.topics.GetTopic(ctx, connect.NewRequest(&weirv1.GetTopicRequest{Name: "out"}))
		if err != nil {
			return err
		}
		if err := fill(ctx, r, in, frameRows, func(rng *rand.Rand, _ int) int64 { return rng.Int64N(restartKeys) }); err != nil {
			return err
		}
		r.conn.Close()
		if err := errors.Join(p.Process.Kill(), p.Wait()); err != nil && !killed(err) {
			return err
		}
		begin := time.Now()
		if p, _, err = startProcess(ctx, dir); err != nil {
			return err
		}
		if r.conn, err = nats.Connect("nats://" + natsAddress); err != nil {
			return err
		}
		if err := newOutput(ctx, r, out, "key:int64,count:int64,sum:int64", last.Msg.LastSequence); err != nil {
			return err
		}
		took = append(took, time.Since(begin).Seconds())
		time.Sleep(1500 * time.Millisecond)
	}
	fmt.Printf("restart        %.2f s from process start to the first new output after SIGKILL (median of %d)\n", median(took), processRuns)
	r.conn.Close()
	if err := errors.Join(p.Process.Kill(), p.Wait()); err != nil && !killed(err) {
		return err
	}
	return nil
}

// newOutput waits for a record behind a sequence.
func newOutput(ctx context.Context, r *rig, topic jetstream.Topic, columns string, after uint64) error {
	ctx, cancel := context.WithTimeout(ctx, processLimit)
	defer cancel()
	src, err := jetstream.NewSource(r.conn, jetstream.SourceConfig{
		Topic: topic, Schema: schema.MustParse(columns), Start: jetstream.Start{Kind: jetstream.AtSequence, Sequence: after + 1},
	})
	if err != nil {
		return err
	}
	splits, err := src.Splits(ctx)
	if err != nil {
		return err
	}
	seen := make(chan error, len(splits))
	for _, split := range splits {
		reader, err := src.Open(ctx, split, nil)
		if err != nil {
			return err
		}
		go func() {
			defer reader.Close()
			for {
				fetch, err := reader.Next(ctx)
				if err != nil {
					seen <- err
					return
				}
				if fetch.Batch != nil {
					fetch.Batch.Release()
					seen <- nil
					return
				}
			}
		}()
	}
	return <-seen
}
