package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"connectrpc.com/connect"
	"github.com/nats-io/nats.go"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
)

// Waits of a chaos run.
const (
	roundTime  = 2500 * time.Millisecond // in which a round's share is fed
	patience   = 60 * time.Second        // without any output while some is expected
	sweepLimit = 60 * time.Second
	finalLimit = 60 * time.Second
)

// ChaosOptions describe a run; it follows from them, but for the clock.
type ChaosOptions struct {
	Seed        uint64
	Records     int
	Keys        int
	Partitions  int
	Parallelism int
	Widths      []int // parallelisms between which every process rescales in turn; none: it stays
	Kills       int
	Interval    time.Duration // of checkpoints
	Dir         string        // for data and logs
	Binary      string
	Module      string // the Go guest
	State       string // backend of keyed state; empty: memory
	ServerArgs  []string
	Out         io.Writer
}

// ChaosReport is what a run showed.
type ChaosReport struct {
	Aimed, Reached int // deaths aimed at a place, and those that came there
	Random         int
	Rescales       int    // that were decided
	Checkpoint     uint64 // the last one
	Files          int    // left after sweeping
	Plain          int    // records of the plain client
	Took           time.Duration
}

// chaos is a run under way.
type chaos struct {
	o         ChaosOptions
	setup     Setup
	client    *Client
	nc        *nats.Conn
	w         *Workload
	feed      *Feed
	neighbour *Neighbour
	hush      context.CancelFunc // ends the neighbour
	streams   map[string]string  // topic -> stream
	uid       string
	halt      func() error // ends every process in order, once the files are to be looked at
	report    ChaosReport
}

// pipelineFile is the pipeline under test: two keyed stages and three sinks.
func pipelineFile(parallelism int, interval time.Duration, backend string) string {
	return fmt.Sprintf(`pipeline: chaos
module: guest
state: {backend: %s}
parallelism: %d
checkpoint: {interval: %dms, min_pause: 20ms, retain: 2}
sources:
  in: {topic: steps, format: columns, columns: "%s"}
operators:
  chaos: {function: chaos, input: in}
  chaos2: {function: chaos2, input: chaos}
sinks:
  reached: {topic: reached, input: chaos, format: columns, key: key}
  violations: {topic: violations, input: chaos.violations, format: columns}
  totals: {topic: totals, input: chaos2, format: columns, key: bucket}
`, cmp.Or(backend, pipelinefile.Memory), parallelism, interval.Milliseconds(), StepColumns)
}

// RunChaos feeds, kills and checks. A nil error means that everything held.
func RunChaos(ctx context.Context, o ChaosOptions) (ChaosReport, error) {
	begin := time.Now()
	c := &chaos{o: o, streams: map[string]string{}, w: NewWorkload(o.Seed, o.Records, o.Keys, o.Partitions)}
	var err error
	if c.setup, err = NewSetup(o.Binary, o.Dir); err != nil {
		return c.report, err
	}
	c.setup.Args = append(stateArgs(o.State), o.ServerArgs...)
	c.client = NewClient(c.setup.URL())
	p, err := c.setup.Start(ctx)
	if err != nil {
		return c.report, err
	}
	err = c.run(ctx, &p)
	if p != nil {
		p.Kill()
	}
	if c.nc != nil {
		c.nc.Close()
	}
	c.report.Took = time.Since(begin)
	return c.report, err
}

// stateArgs give a process as little memory for state on disk as it takes, so
// that most of it is there.
func stateArgs(backend string) []string {
	if backend != pipelinefile.Disk {
		return nil
	}
	return []string{"--state-memory", "16"}
}

func (c *chaos) say(format string, args ...any) { fmt.Fprintf(c.o.Out, format+"\n", args...) }

func (c *chaos) run(ctx context.Context, p **Process) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := c.prepare(ctx); err != nil {
		return err
	}
	var err error
	if c.nc, err = DialNATS(c.setup.NATSURL()); err != nil {
		return err
	}
	beside, hush := context.WithCancel(ctx)
	c.hush = hush
	if c.neighbour, err = StartNeighbour(beside, c.nc, "reached"); err != nil {
		return err
	}
	if c.feed, err = StartFeed(ctx, c.nc, c.streams["steps"], "steps", c.w); err != nil {
		return err
	}
	for i, d := range Deaths(c.o.Seed, c.o.Kills) {
		if *p, err = c.round(ctx, *p, i, d); err != nil {
			return err
		}
	}
	c.feed.Allow(1)
	if err := c.feed.Wait(); err != nil {
		return fmt.Errorf("feed: %w", err)
	}
	c.say("all %d records are fed; waiting for their output", c.o.Records)
	c.halt = func() error {
		err := (*p).Stop()
		*p = nil
		return err
	}
	return c.judge(ctx)
}

// prepare creates topics, pushes the module and applies the pipeline.
func (c *chaos) prepare(ctx context.Context) error {
	for _, name := range []string{"steps", "reached", "totals", "violations"} {
		t, err := c.client.CreateTopic(ctx, name, c.o.Partitions, weirv1.Layout_LAYOUT_FRAMES)
		if err != nil {
			return err
		}
		c.streams[name] = t.Stream
	}
	if err := c.client.PushModule(ctx, "guest", c.o.Module); err != nil {
		return err
	}
	pipeline, err := c.client.Apply(ctx, pipelineFile(c.o.Parallelism, c.o.Interval, c.o.State))
	if err != nil {
		return err
	}
	c.uid = pipeline.Uid
	_, err = c.client.AwaitState(ctx, "chaos", "running")
	return err
}

// round ends a process as planned and starts the next one. The first process of
// all was started without a failpoint, so an aimed death restarts it first.
func (c *chaos) round(ctx context.Context, p *Process, i int, d Death) (*Process, error) {
	share := func(part float64) { c.feed.Allow((float64(i) + min(part, 1)) / float64(c.o.Kills+1)) }
	if i == 0 {
		p.Kill()
	}
	p, err := c.setup.Start(ctx, d.env()...)
	if err != nil && !errors.Is(err, ErrDied) {
		return p, err
	}
	rescaled := c.rescale(ctx, i)
	defer func() { <-rescaled }()
	end := time.NewTimer(d.After - time.Since(p.Started))
	defer end.Stop()
	pace := time.NewTicker(pollEvery)
	defer pace.Stop()
	for reached := false; ; {
		select {
		case <-pace.C:
			share(float64(time.Since(p.Started)) / float64(roundTime))
			continue
		case <-p.Ended():
			if d.Place == "" || !p.Killed() {
				return p, fmt.Errorf("the server ended by itself: %w; see %s", orNil(p.err), c.setup.LogPath())
			}
			reached = true
		case <-end.C:
			p.Kill()
		case <-ctx.Done():
			return p, context.Cause(ctx)
		}
		share(1)
		c.count(i, d, reached)
		return c.next(ctx, i, p)
	}
}

// rescale asks the process of a round for another parallelism. The call may meet
// the death, and the answer may be lost: what counts is what comes out. The result is closed when it is over.
func (c *chaos) rescale(ctx context.Context, i int) <-chan struct{} {
	over := make(chan struct{})
	if len(c.o.Widths) == 0 {
		close(over)
		return over
	}
	ctx, cancel := context.WithTimeout(ctx, roundTime)
	go func() {
		defer close(over)
		defer cancel()
		if err := c.client.Rescale(ctx, "chaos", c.o.Widths[i%len(c.o.Widths)]); err == nil {
			c.report.Rescales++
		}
	}()
	return over
}

func (c *chaos) count(i int, d Death, reached bool) {
	note := ""
	switch {
	case d.Place == "":
		c.report.Random++
	case reached:
		c.report.Aimed++
		c.report.Reached++
	default:
		c.report.Aimed++
		note = " (not reached: killed at random)"
	}
	c.say("kill %d/%d: %s%s; %d records fed", i+1, c.o.Kills, d, note, c.feed.Fed.Load())
}

// next starts the process that is to live on after the last death.
func (c *chaos) next(ctx context.Context, i int, dead *Process) (*Process, error) {
	if i+1 < c.o.Kills {
		return dead, nil
	}
	return c.setup.Start(ctx)
}

// judge waits for the rest of the output, stops the pipeline, and looks at all.
func (c *chaos) judge(ctx context.Context) error {
	first, second := NewFirstStage(c.w), NewSecondStage(c.w)
	at, err := Follow(ctx, c.nc, c.streams["reached"], 0, patience, first.Visit, first.Done)
	if err != nil {
		return errors.Join(fmt.Errorf("%d of %d rows of the first stage: %w", first.Rows, c.w.Records, err), first.Problem.orNil(), c.status(ctx))
	}
	at2, err := Follow(ctx, c.nc, c.streams["totals"], 0, patience, second.Visit, second.Done)
	if err != nil {
		return errors.Join(fmt.Errorf("%d of %d rows of the second stage: %w", second.Rows, c.w.Records, err), second.Problem.orNil(), c.status(ctx))
	}
	c.hush()
	sent := c.neighbour.Sent()
	c.report.Plain = len(sent)
	final, cancel := context.WithTimeout(ctx, finalLimit)
	defer cancel()
	if err := c.client.Stop(final, "chaos"); err != nil {
		return err
	}
	if _, err := c.client.AwaitState(final, "chaos", "stopped"); err != nil {
		return err
	}
	// What came after the last expected row would be double.
	if _, err := ReadStream(ctx, c.nc, c.streams["reached"], at+1, first.Visit); err != nil {
		return err
	}
	if _, err := ReadStream(ctx, c.nc, c.streams["totals"], at2+1, second.Visit); err != nil {
		return err
	}
	var wrong Mismatch
	if _, err := ReadStream(ctx, c.nc, c.streams["violations"], 1, func(m Message) error {
		wrong.add("the guest saw %d violations of its sequences", m.Rows())
		return nil
	}); err != nil {
		return err
	}
	if err := errors.Join(first.Verdict(sent), second.Verdict(), wrong.orNil()); err != nil {
		return err
	}
	c.say("output: nothing lost, doubled or reordered in %d and %d rows", first.Rows, second.Rows)
	return c.files(ctx)
}

// status tells how the pipeline stands, for the report of a failure.
func (c *chaos) status(ctx context.Context) error {
	s, err := c.client.Status(ctx, "chaos")
	if err != nil {
		return err
	}
	return fmt.Errorf("status: %v", s)
}

// files holds the final state against the model and looks for orphaned files.
func (c *chaos) files(ctx context.Context) error {
	r, err := c.client.Pipelines.ListCheckpoints(ctx, connect.NewRequest(&weirv1.ListCheckpointsRequest{Namespace: Namespace, Name: "chaos"}))
	if err != nil {
		return fmt.Errorf("list checkpoints: %w", err)
	}
	var retained []uint64
	for _, cp := range r.Msg.Checkpoints {
		retained = append(retained, cp.Id)
		c.report.Checkpoint = max(c.report.Checkpoint, cp.Id)
	}
	if err := c.awaitSweep(ctx, retained); err != nil {
		return err
	}
	if err := c.halt(); err != nil {
		return err
	}
	f, err := OpenFiles(ctx, c.setup.BlobDir(), c.uid)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := c.w.CheckState(ctx, f, c.report.Checkpoint); err != nil {
		return err
	}
	c.say("state: as the model says, in checkpoint %d", c.report.Checkpoint)
	return nil
}

// awaitSweep waits until only what retained checkpoints need is there.
func (c *chaos) awaitSweep(ctx context.Context, retained []uint64) error {
	deadline := time.Now().Add(sweepLimit)
	for {
		f, err := OpenFiles(ctx, c.setup.BlobDir(), c.uid)
		var orphans, missing []string
		if err == nil {
			orphans, missing = f.Orphans(retained)
			c.report.Files = len(f.names)
			err = f.Close()
		}
		switch {
		case len(missing) > 0:
			return fmt.Errorf("files of retained checkpoints are missing: %v", missing)
		case err == nil && len(orphans) == 0:
			c.say("files: %d, all of them needed by checkpoints %v", c.report.Files, retained)
			return nil
		case time.Now().After(deadline) && err == nil:
			return fmt.Errorf("%d files that nothing needs are left after sweeping, such as %s; retained: %v", len(orphans), orphans[0], retained)
		case time.Now().After(deadline) && !errors.Is(err, os.ErrNotExist):
			return err
		}
		if err := pause(ctx, pollEvery); err != nil {
			return err
		}
	}
}
