package aggregate

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/operator/native"
	"github.com/weirstream/weir/platform/operator/operatortest"
)

// These bytes stand in checkpoints: a change of them is a change of the shape
// that Plan declares, or the state of running jobs is misread.
func TestAccumulatorsHaveTheBytesThatTheirShapeSays(t *testing.T) {
	in := native.Input{Schema: schema.MustParse("k:int64,v:int32,f:float64,s:utf8"), Changelog: true}
	s := spec(in, "", `{"fn":"count","as":"n"}`, `{"fn":"sum","column":"v","as":"a"}`, `{"fn":"avg","column":"v","as":"b"}`,
		`{"fn":"min","column":"v","as":"c"}`, `{"fn":"max","column":"s","as":"d"}`)
	if got, want := s.MustPlan(t).State[0].Value, "rows;count();sum(v:int32);avg(v:int32);min(v:int32) of all values;max(s:utf8) of all values"; got != want {
		t.Errorf("the shape is %s, want %s", got, want)
	}
	o := operatortest.Open(t, s, operatortest.KeepRows)
	defer o.Close()
	o.Process(0, operatortest.Of(1, int64(1), int64(-3), 0.5, "b"), operatortest.Of(1, int64(1), int64(5), 0.5, "a").As(batch.UpdateAfter))
	const (
		two   = "0200000000000000"
		one   = "0100000000000000"
		three = "fdffffffffffffff" // -3
		none  = "0000000000000000"
	)
	want := map[string]string{
		// rows | count | values, sum | values, sum in 128 bits | values, the least as low and high word, there is one | values
		"accumulators ":                    strings.Join([]string{two, two, two, two, two, two, none, two, none, three, one, two}, ""),
		"max(s).value ":                    "62",
		"max(s).values fd9efffe":           one + "61", // inverted, with its end mark
		"max(s).values fd9dfffe":           one + "62",
		"min(v).values 027ffffffffffffffd": one + none + three,
		"min(v).values 028000000000000005": one + none + "0500000000000000",
	}
	for _, e := range o.Barrier() {
		name := e.State + " " + hex.EncodeToString(e.Sub)
		if got := hex.EncodeToString(e.Value); got != want[name] {
			t.Errorf("%s has %s, want %s", name, got, want[name])
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("%s is not there", name)
	}
}
