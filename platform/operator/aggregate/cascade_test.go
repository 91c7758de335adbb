package aggregate

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/operator/native"
	"github.com/weirstream/weir/platform/operator/operatortest"
)

// A count per word, then how many words have each count and which is the first
// of them: every row moves a word from one count to the next, so the second
// aggregate lives on retractions.
func TestAnAggregateOverAnAggregateFollowsItsRetractions(t *testing.T) {
	words := native.Input{Schema: schema.MustParse("word:utf8")}
	for _, per := range []string{"row", "batch"} {
		alive := batch.Live()
		seed := rand.Uint64()
		t.Logf("per %s, seed %d", per, seed)
		r := rand.New(rand.NewPCG(seed, 0))
		first := spec(words, fmt.Sprintf(`,"emit":"changelog","per":%q`, per), `{"fn":"count","as":"n"}`)
		plan := first.MustPlan(t)
		if !plan.Changelog {
			t.Fatal("the planner would not see that the first gives a changelog")
		}
		second := spec(native.Input{Schema: plan.Output, Changelog: plan.Changelog}, `,"emit":"changelog"`,
			`{"fn":"count","as":"words"}`, `{"fn":"min","column":"word","as":"first"}`)
		second.Key = []string{"n"}
		a := operatortest.Open(t, first, operatortest.KeepRows)
		b := operatortest.Open(t, second, operatortest.KeepRows)
		counts := map[string]int64{}
		for range 60 {
			var rows []row
			for range 1 + r.IntN(30) {
				word := string(rune('a' + r.IntN(8)))
				counts[word]++
				rows = append(rows, operatortest.Of(1, word))
			}
			a.Process(0, rows...)
			b.Process(0, a.Rows...)
			a.Rows = nil
		}
		var want []row
		for n, words := range wordsByCount(counts) {
			want = append(want, operatortest.Of(1, n, int64(len(words)), least(words)))
		}
		operatortest.SameTexts(t, "counts of counts", operatortest.Materialise(t, b.Rows), operatortest.Materialise(t, want))
		a.Close()
		b.Close()
		if batch.Live() != alive {
			t.Errorf("%d batches or buffers are still alive", batch.Live()-alive)
		}
	}
}

func wordsByCount(counts map[string]int64) map[int64][]any {
	out := map[int64][]any{}
	for word, n := range counts {
		out[n] = append(out[n], word)
	}
	return out
}
