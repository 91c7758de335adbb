package main

import (
	"context"
	"errors"
	"fmt"
	"github.com/weirstream/weir/platform/server"
)

// meterPairs is the least number of pairs: the difference is smaller than what
// two runs differ by.
const meterPairs = 5

// runMeter compares whole flows, in turns, on two servers of which one runs the
// modules as they were uploaded.
func runMeter(ctx context.Context, c *config) (err error) {
	metered, err := meterRig(ctx, c, server.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, metered.close()) }()
	plain, err := meterRig(ctx, c, server.Options{Unmetered: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plain.close()) }()
	for _, op := range operators {
		if op.name == "native" {
			continue
		}
		var ratios, rates []float64
		for round := range max(c.rounds, meterPairs) {
			name := fmt.Sprintf("meter-%s-%d", op.name, round)
			turns := []*rig{metered, plain}
			if round%2 == 1 { // neither always comes second
				turns[0], turns[1] = plain, metered
			}
			var with, without measured
			for _, r := range turns {
				m, err := flow(ctx, r, c, plan{name: name, operator: op.yaml})
				if err != nil {
					return err
				}
				if r == metered {
					with = m
				} else {
					without = m
				}
			}
			ratios = append(ratios, with.cpuNs/without.cpuNs)
			rates = append(rates, without.rate/with.rate)
		}
		fmt.Printf("%-7s the meter takes %.1f %% of CPU a record, %.1f %% of the rate (medians of %d pairs; aim 5 %%)\n",
			op.name, 100*(median(ratios)-1), 100*(median(rates)-1), len(ratios))
	}
	return nil
}

// meterRig is a server with the benchmark's modules and a filled topic.
func meterRig(ctx context.Context, c *config, o server.Options) (*rig, error) {
	r, err := newRigOf(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx, r, c); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}
