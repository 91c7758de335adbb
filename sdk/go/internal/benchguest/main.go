// Command benchguest is the module that benchmarks and crash tests run. Built
// natively it replays recorded calls, see replay.go. Its functions must know only
// the SDK's public API.
package main

import (
	"errors"
	"strings"

	weir "github.com/weirstream/weir/sdk/go"
)

// Record is what benchmarks feed: about 100 bytes.
type Record struct {
	Key   int64
	Value int64
	Pad   string
}

// Total is what count_sum emits.
type Total struct {
	Key   int64
	Count int64
	Sum   int64
}

// Running is the state of count_sum.
type Running struct {
	Count int64
	Sum   int64
}

var (
	countSum = weir.Keyed("count_sum", "key")
	records  = weir.In[Record](countSum, "in")
	totals   = weir.Out[Total](countSum)
	running  = weir.ValueOf[Running](countSum, "running")
)

var _ = weir.Map("map", func(r *Record) (Record, error) {
	return Record{r.Key, r.Value * 2, r.Pad}, nil
})

// Step is a record of the crash test: seq counts up by one for each key.
type Step struct {
	Key   string
	Seq   int64
	Value int64
}

// Violation is a step that did not follow the last.
type Violation struct {
	Key  string
	Last int64
	Seq  int64
}

// Seen is the state of chaos.
type Seen struct {
	Seq int64
	Sum int64
}

// Reached is what chaos emits.
type Reached struct {
	Key string
	Seq int64
	Sum int64
	// Bucket spreads keys over the second stage.
	Bucket int32
}

// Buckets is how many keys the second stage has.
const Buckets = 64

var (
	chaos      = weir.Keyed("chaos", "key")
	steps      = weir.In[Step](chaos, "in")
	reached    = weir.Out[Reached](chaos)
	violations = weir.Side[Violation](chaos, "violations")
	seen       = weir.ValueOf[Seen](chaos, "seen")
	values     = weir.MapOf[int64, int64](chaos, "values")
)

// BucketTotal is what chaos2 emits.
type BucketTotal struct {
	Bucket int32
	Count  int64
	Sum    int64
}

var (
	chaos2  = weir.Keyed("chaos2", "bucket")
	arrived = weir.In[Reached](chaos2, "in")
	buckets = weir.Out[BucketTotal](chaos2)
	bucket  = weir.ValueOf[Running](chaos2, "bucket")
)

func bucketOf(key string) int32 {
	h := uint32(2166136261)
	for i := range len(key) {
		h = (h ^ uint32(key[i])) * 16777619
	}
	return int32(h % Buckets)
}

func onStep(ctx *weir.Context, s *Step) error {
	if strings.HasPrefix(s.Key, "poison") {
		return errors.New("key " + s.Key + " is poisonous")
	}
	last := seen.Edit(ctx)
	if s.Seq != last.Seq+1 {
		violations.Emit(ctx, Violation{s.Key, last.Seq, s.Seq})
	}
	last.Seq = s.Seq
	last.Sum += s.Value
	// The hosted map holds the newest values by sequence; what it says has to agree with the framed state.
	const keep = 4
	if s.Seq > 1 && !values.Has(ctx, s.Seq-1) {
		violations.Emit(ctx, Violation{s.Key, -1, s.Seq})
	}
	values.Put(ctx, s.Seq, s.Value)
	values.Delete(ctx, s.Seq-keep)
	reached.Emit(ctx, Reached{s.Key, last.Seq, last.Sum, bucketOf(s.Key)})
	return nil
}

func init() {
	records.On(func(ctx *weir.Context, r *Record) error {
		t := running.Edit(ctx)
		t.Count++
		t.Sum += r.Value
		totals.Emit(ctx, Total{r.Key, t.Count, t.Sum})
		return nil
	})
	steps.On(onStep)
	arrived.On(func(ctx *weir.Context, r *Reached) error {
		t := bucket.Edit(ctx)
		t.Count++
		t.Sum += r.Sum
		buckets.Emit(ctx, BucketTotal{r.Bucket, t.Count, t.Sum})
		return nil
	})
}

// Named is what named emits: the key, called by a name of the asset names.txt.
type Named struct {
	Key  int64
	Name string
}

var (
	named    = weir.Process("named")
	unnamed  = weir.In[Record](named, "in")
	namedOut = weir.Out[Named](named)
	names    = weir.AssetOf(named, "names.txt", func(b []byte) ([]string, error) {
		if len(b) == 0 {
			return nil, errors.New("it holds no names")
		}
		return strings.Fields(string(b)), nil
	})
)

func init() {
	unnamed.On(func(ctx *weir.Context, r *Record) error {
		all := names.Get(ctx)
		namedOut.Emit(ctx, Named{r.Key, all[int(r.Key)%len(all)]})
		return nil
	})
}

// Place is a struct within a column.
type Place struct {
	Name string
	Lat  weir.Null[float64]
}

// Trip has columns of each nested kind.
type Trip struct {
	ID    int64
	Stops []Place
	Home  *Place
	Tags  []string           `weir:"tags,null"`
	Costs map[string]float64 // by currency
}

var _ = weir.Map("nest", func(t *Trip) (Trip, error) {
	out := *t
	out.Stops = append([]Place{{Name: "start"}}, t.Stops...)
	if t.Home != nil {
		out.Home = &Place{Name: strings.ToUpper(t.Home.Name), Lat: t.Home.Lat}
	}
	out.Costs = map[string]float64{}
	for currency, cost := range t.Costs {
		out.Costs[currency] = 2 * cost
	}
	return out, nil
})
