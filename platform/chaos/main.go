// Command chaos kills a weir server again and again while a stateful pipeline
// runs, and holds output, state and files against a model: the long form of the
// test in platform/e2e. It must not know how a server is built.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/weirstream/weir/platform/e2e"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAILED:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	o := e2e.ChaosOptions{Partitions: 8, Out: os.Stdout}
	flag.Uint64Var(&o.Seed, "seed", 0, "what input and deaths follow from (0: a random one, which is printed)")
	flag.IntVar(&o.Records, "records", 1_000_000, "records to feed")
	flag.IntVar(&o.Keys, "keys", 0, "keys among which they are dealt out (0: 10,000, or 80,000 with state on disk, which is more than its memory holds)")
	flag.IntVar(&o.Kills, "kills", 20, "deaths of the server, every second one inside checkpoint, commit or publish")
	flag.IntVar(&o.Parallelism, "parallelism", 2, "tasks of each stage")
	flag.DurationVar(&o.Interval, "interval", 250*time.Millisecond, "checkpoint interval")
	flag.StringVar(&o.Dir, "dir", "", "folder for data and logs (default: a temporary one, kept if something fails)")
	flag.StringVar(&o.Binary, "weir", "", "the program to test (default: built from this repository)")
	rescale := flag.Bool("rescale", true, "rescale 2 to 5 to 3 in turn, while records flow and processes die")
	cluster := flag.Bool("cluster", false, "several processes: three controllers and workers that are killed and suspended, instead of one server")
	workers := flag.Int("workers", 3, "workers of a cluster")
	faults := flag.Int("faults", 40, "faults of a cluster's processes")
	strict := flag.Bool("strict", false, "sync everything before it is acknowledged")
	flag.StringVar(&o.State, "state", pipelinefile.Memory, "backend of keyed state: memory, or disk with little memory")
	flag.Parse()
	if o.Keys == 0 {
		o.Keys = map[string]int{pipelinefile.Memory: 10_000, pipelinefile.Disk: 80_000}[o.State]
	}
	if *rescale {
		o.Widths = []int{5, 3, 2}
	}
	if *strict {
		o.ServerArgs = append(o.ServerArgs, "--durability", "strict")
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64N(1 << 32)
	}
	temporary := o.Dir == ""
	if temporary {
		var err error
		if o.Dir, err = os.MkdirTemp("", "weir-chaos-"); err != nil {
			return err
		}
	}
	fmt.Printf("seed %d: %d records, %d keys, %d kills; %d CPUs; folder %s\n", o.Seed, o.Records, o.Keys, o.Kills, runtime.NumCPU(), o.Dir)
	root, err := e2e.Root()
	if err != nil {
		return err
	}
	if o.Binary == "" {
		if o.Binary, err = e2e.BuildServer(ctx, root, o.Dir); err != nil {
			return err
		}
	}
	if o.Module, err = e2e.BuildGuest(ctx, root, o.Dir); err != nil {
		return err
	}
	var r e2e.ChaosReport
	if *cluster {
		r, err = e2e.RunClusterChaos(ctx, e2e.ClusterChaosOptions{
			Seed: o.Seed, Records: o.Records, Keys: o.Keys, Partitions: o.Partitions, Parallelism: max(o.Parallelism, 3), Widths: []int{5, 3, 2},
			Controllers: 3, Workers: *workers, Slots: 4, Faults: *faults, Suspended: 10 * time.Second, Interval: o.Interval, State: o.State,
			Dir: o.Dir, Binary: o.Binary, Module: o.Module, Out: o.Out,
		})
	} else {
		r, err = e2e.RunChaos(ctx, o)
	}
	fmt.Printf("seed %d: %d deaths at random, %d aimed of which %d came where aimed, %d records beside by a plain client, checkpoint %d, %d files, %s\n",
		o.Seed, r.Random, r.Aimed, r.Reached, r.Plain, r.Checkpoint, r.Files, r.Took.Round(time.Second))
	if err != nil {
		return fmt.Errorf("seed %d: %w; logs and data are in %s", o.Seed, err, o.Dir)
	}
	fmt.Println("everything held")
	if temporary {
		return os.RemoveAll(o.Dir)
	}
	return nil
}
