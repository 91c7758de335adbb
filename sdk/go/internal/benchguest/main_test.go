package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weirstream/weir/sdk/go/weirtest"
)

func TestChaosFollowsItsSequencesWithoutViolation(t *testing.T) {
	h := weirtest.New(t, "chaos")
	sums := map[string]int64{}
	for seq := range int64(30) {
		for key := range 7 {
			k := fmt.Sprint("key-", key)
			sums[k] += seq * int64(key)
			h.Send("in", Step{k, seq + 1, seq * int64(key)})
		}
	}
	last := map[string]Reached{}
	for _, r := range weirtest.Rows[Reached](h, "out") {
		if r.Seq != last[r.Key].Seq+1 {
			t.Fatalf("%s: %d follows %d", r.Key, r.Seq, last[r.Key].Seq)
		}
		last[r.Key] = r
	}
	for k, sum := range sums {
		if last[k].Sum != sum || last[k].Seq != 30 || last[k].Bucket != bucketOf(k) {
			t.Errorf("%s: %v, want sum %d", k, last[k], sum)
		}
		if kept := weirtest.Entries[int64](h, "values", k); len(kept) != 4 {
			t.Errorf("%s: %d values are kept, want the newest 4", k, len(kept))
		}
	}
	if v := h.Output("violations"); len(v) != 0 {
		t.Errorf("violations: %v", v)
	}
}

func TestChaosNamesAGapARepetitionAndPoison(t *testing.T) {
	h := weirtest.New(t, "chaos")
	h.Send("in", Step{"a", 1, 1}, Step{"a", 3, 1}, Step{"b", 1, 1}, Step{"b", 1, 1}, Step{"poison-1", 1, 1})
	var got []string
	for _, v := range weirtest.Rows[Violation](h, "violations") {
		got = append(got, fmt.Sprint(v.Key, " ", v.Last, " ", v.Seq))
	}
	if want := "a 1 3,a -1 3,b 1 1"; strings.Join(got, ",") != want {
		t.Errorf("violations %v, want %s", got, want)
	}
	if f := h.Failures(); len(f) != 1 || !strings.Contains(f[0].Text, "poison-1") {
		t.Errorf("failures: %v", f)
	}
}

func TestCountSumAndTheBucketsAddUp(t *testing.T) {
	h := weirtest.New(t, "count_sum")
	for i := range int64(100) {
		h.Send("in", Record{i % 3, i, "pad"})
	}
	want := map[int64]Total{}
	for i, r := range weirtest.Rows[Total](h, "out") {
		w := want[int64(i)%3]
		w = Total{int64(i) % 3, w.Count + 1, w.Sum + int64(i)}
		want[int64(i)%3] = w
		if r != w {
			t.Fatalf("row %d is %v, want %v", i, r, w)
		}
	}
	b := weirtest.New(t, "chaos2")
	b.Send("in", Reached{"x", 1, 10, 5}, Reached{"y", 1, 20, 5})
	if got := weirtest.Rows[BucketTotal](b, "out"); len(got) != 2 || got[1] != (BucketTotal{5, 2, 30}) {
		t.Errorf("buckets: %v", got)
	}
}
