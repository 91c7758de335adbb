package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/pprof"
	"time"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/api/weir/v1/weirv1connect"
	"github.com/weirstream/weir/platform/server"
	"net/http"
)

const (
	bounceType    = "bench.weir/bounce"
	bounceBytes   = 100
	bounceLast    = 10 * time.Second
	bounceFlying  = 20_000 // messages under way at a time
	bounceAtOnce  = 5_000  // sent with one request
	bounceWarmup  = 2 * time.Second
	bounceAddress = 100_000
)

// runFunctions lets messages go from address to address for ever, and counts them.
func runFunctions(ctx context.Context, c *config) error {
	for _, addresses := range []int{bounceAddress, 1} {
		for _, guest := range []struct{ name, file string }{{"c", "sdk/c/bench/bounce.wasm"}, {"go", "bin/bench.wasm"}} {
			if c.operator != "" && c.operator != guest.name {
				continue
			}
			var rates, costs []float64
			for range c.rounds {
				rate, cost, err := bounceRound(ctx, c, guest.name, guest.file, addresses)
				if err != nil {
					return err
				}
				rates, costs = append(rates, rate), append(costs, cost)
			}
			fmt.Printf("%-3s %7d addresses  %8.0f messages/s, %.0f ns of CPU a message (medians of %d)\n", guest.name, addresses, median(rates), median(costs), c.rounds)
		}
	}
	return nil
}

// bounceRound runs one application on an empty server.
func bounceRound(ctx context.Context, c *config, name, file string, addresses int) (rate, cpuNs float64, err error) {
	r, err := newRigOf(ctx, server.Options{})
	if err != nil {
		return 0, 0, err
	}
	defer r.close()
	if err := r.push(ctx, "bounce", file); err != nil {
		return 0, 0, err
	}
	width := 2
	if addresses == 1 {
		width = 1
	}
	err = r.apply(ctx, fmt.Sprintf("pipeline: bounce\nmodule: bounce\ncheckpoint: {interval: 1s}\nfunctions: {types: [%s], parallelism: %d}\n", bounceType, width))
	if err != nil {
		return 0, 0, err
	}
	client := weirv1connect.NewFunctionServiceClient(http.DefaultClient, r.server.URL())
	rng := rand.New(rand.NewPCG(1, 2))
	for from := 0; from < bounceFlying; from += bounceAtOnce {
		var messages []*weirv1.FunctionMessage
		for range bounceAtOnce {
			value := make([]byte, bounceBytes)
			binary.LittleEndian.PutUint64(value, rng.Uint64()|1)
			binary.LittleEndian.PutUint64(value[8:], uint64(addresses))
			messages = append(messages, &weirv1.FunctionMessage{Type: bounceType, Id: fmt.Sprint(rng.IntN(addresses)), Typename: "io.weir/bytes", Value: value})
		}
		if _, err := client.Send(ctx, connect.NewRequest(&weirv1.SendRequest{Messages: messages})); err != nil {
			return 0, 0, err
		}
	}
	if err := r.until(ctx, "bounce", func(s *weirv1.PipelineStatus) bool { return taken(s, bounceType) > 2*bounceFlying }); err != nil {
		return 0, 0, err
	}
	time.Sleep(bounceWarmup)
	if c.profile != "" {
		f, err := os.Create(fmt.Sprintf("%s.%s-%d", c.profile, name, addresses))
		if err != nil {
			return 0, 0, err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return 0, 0, err
		}
		defer pprof.StopCPUProfile()
	}
	begin := time.Now()
	var first, last uint64
	var from, to odometer
	err = r.until(ctx, "bounce", func(s *weirv1.PipelineStatus) bool {
		if first == 0 {
			first, from = taken(s, bounceType), readOdometer()
		}
		last, to = taken(s, bounceType), readOdometer()
		return time.Since(begin) >= bounceLast
	})
	if err != nil {
		return 0, 0, err
	}
	m := from.to(to, last-first)
	fmt.Printf("  %-3s %7d addresses  %8.0f messages/s  %5.0f ns of CPU, %.4f objects allocated a message\n", name, addresses, m.rate, m.cpuNs, m.objects)
	return m.rate, m.cpuNs, nil
}
