package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

// allocRate samples one allocation in so many bytes: often enough for a flow
// of seconds, and seldom enough not to change it.
const allocRate = 16 << 10

// shownOwners is how many packages are named.
const shownOwners = 8

// runAllocs says which packages allocate while a flow runs, by samples of all
// allocations; the packages of the runtime stand for whoever called them.
func runAllocs(ctx context.Context, c *config) error {
	runtime.MemProfileRate = allocRate // before anything that is measured: samples are scaled by it
	r, err := newRig(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	if err := prepare(ctx, r, c); err != nil {
		return err
	}
	for _, op := range operators {
		if c.operator != "" && c.operator != op.name {
			continue
		}
		before := allocated()
		m, err := flow(ctx, r, c, plan{name: "allocs-" + op.name, operator: op.yaml})
		if err != nil {
			return err
		}
		fmt.Printf("%-7s %.4f objects, %.0f B a record in the middle of the flow; of the whole, with its start and end, a record:\n", op.name, m.objects, m.bytes)
		after := allocated()
		var owners []owner
		for name, o := range after {
			o.objects -= before[name].objects
			o.bytes -= before[name].bytes
			owners = append(owners, owner{name, o})
		}
		slices.SortFunc(owners, func(x, y owner) int { return cmp.Compare(y.objects, x.objects) })
		for _, o := range owners[:min(len(owners), shownOwners)] {
			fmt.Printf("  %-60s %.4f objects %6.1f B\n", o.name, o.objects/float64(c.records), o.bytes/float64(c.records))
		}
	}
	return nil
}

type owner struct {
	name string
	amount
}

type amount struct{ objects, bytes float64 }

// allocated is what each package has allocated so far, as far as the collector knows.
func allocated() map[string]amount {
	runtime.GC()
	runtime.GC() // a profile is one collection behind
	var records []runtime.MemProfileRecord
	for n := 1000; ; n *= 2 {
		records = make([]runtime.MemProfileRecord, n)
		if got, ok := runtime.MemProfile(records, true); ok {
			records = records[:got]
			break
		}
	}
	sums := map[string]amount{}
	for i := range records {
		rec := &records[i]
		size := float64(rec.AllocBytes) / float64(rec.AllocObjects)
		scale := 1 / (1 - math.Exp(-size/allocRate))
		name := packageOf(rec.Stack())
		a := sums[name]
		sums[name] = amount{a.objects + scale*float64(rec.AllocObjects), a.bytes + scale*float64(rec.AllocBytes)}
	}
	return sums
}

// packageOf is the first package of a stack that is not the standard library's.
func packageOf(stack []uintptr) string {
	frames := runtime.CallersFrames(stack)
	last := "runtime"
	for {
		f, more := frames.Next()
		name := f.Function
		slash := strings.LastIndexByte(name, '/')
		if dot := strings.IndexByte(name[slash+1:], '.'); dot >= 0 {
			name = name[:slash+1+dot]
		}
		if first, _, _ := strings.Cut(name, "/"); strings.Contains(first, ".") || name == "main" {
			return strings.TrimPrefix(name, "github.com/weirstream/weir/")
		}
		if name != "" {
			last = name
		}
		if !more {
			return last
		}
	}
}

// prepare pushes the modules of the flows and fills their topic.
func prepare(ctx context.Context, r *rig, c *config) error {
	if err := r.push(ctx, "count_sum", "sdk/c/bench/count_sum.wasm"); err != nil {
		return err
	}
	if err := r.push(ctx, "bench", "bin/bench.wasm"); err != nil {
		return err
	}
	in, err := r.topic(ctx, "in", weirv1.Layout_LAYOUT_FRAMES)
	if err != nil {
		return err
	}
	return fill(ctx, r, in, c.records, uniformly)
}
