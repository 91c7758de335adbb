// Command bench measures what docs/benchmarks.md reports, each figure with its
// baseline in the same run, through the product as it is: a server in this
// process, its API, topics in its embedded NATS. It must not know shortcuts.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// scenario is one group of figures.
type scenario struct {
	name string
	what string
	run  func(context.Context, *config) error
}

var scenarios = []scenario{
	{"publish", "publishing through our client, in frames and one record a message", runPublish},
	{"flow", "topic to topic through one keyed operator: native, C and Go", runFlow},
	{"meter", "the same flows with and without the meter in the modules", runMeter},
	{"records", "exactly once into a topic of one record a message", runRecords},
	{"allocs", "who allocates in a flow's steady state", runAllocs},
	{"frame", "guests against the same function compiled natively, behind the same calls", runFrame},
	{"exchange", "records to another process, against a task of this one and a bare connection", runExchange},
	{"latency", "20,000 records a second, from publishing to reading", runLatency},
	{"checkpoint", "a million keys, a tenth of them dirty every second", runCheckpoint},
	{"disk", "state that outgrows memory: updates, memory, restart, on disk and in memory", runDisk},
	{"rescale", "2 to 5 to 3 tasks at 200,000 records a second: how long nothing comes out", runRescale},
	{"workers", "the same tasks in one worker process and in two", runWorkers},
	{"failover", "workers and leading controllers that are killed", runFailover},
	{"functions", "messages of stateful functions, from address to address", runFunctions},
	{"process", "start, idle and restart of a real process", runProcess},
}

// config is what the flags say.
type config struct {
	records int
	rounds  int
	keys    int // of the scenario disk
	// operator is the one that flows run; empty: each.
	operator string
	profile  string
}

func main() {
	var c config
	only := flag.String("only", "", "comma-separated scenarios; empty: all")
	flag.IntVar(&c.records, "records", 8_000_000, "records of a flow")
	flag.IntVar(&c.rounds, "rounds", 3, "rounds, of which the median counts")
	flag.IntVar(&c.keys, "keys", 10_000_000, "keys of the scenario disk")
	flag.StringVar(&c.operator, "operator", "", "native, c or go, in the scenario disk disk or memory; empty: each")
	flag.StringVar(&c.profile, "profile", "", "write a CPU profile of the flows to this file")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: bench [flags]\n\nscenarios:")
		for _, s := range scenarios {
			fmt.Fprintf(os.Stderr, "  %-12s %s\n", s.name, s.what)
		}
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Printf("%s/%s, %d CPUs, %s\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	for _, s := range scenarios {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), s.name) {
			continue
		}
		fmt.Printf("\n== %s: %s\n", s.name, s.what)
		if err := s.run(ctx, &c); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", s.name, err)
			os.Exit(1)
		}
	}
}
