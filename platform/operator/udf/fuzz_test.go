package udf

import (
	"strings"
	"testing"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/operator/operatortest"
)

// FuzzAnswers has a guest answer arbitrary bytes to a call that begins with one
// record: whatever they are, the records around it are handled once, in order.
func FuzzAnswers(f *testing.F) {
	good := outputs([]any{1, "text"})
	f.Add([]byte(answer(done)))
	f.Add([]byte(answer(done, must(abi.EffectsSectionOutput, 0, good), must(abi.EffectsSectionCauses, 0, words(0)))))
	f.Add([]byte(answer(done, must(abi.EffectsSectionWrites, 0, writes([]any{0, 0, "v"})))))
	f.Add([]byte(answer(done, must(abi.EffectsSectionChanges, 0, changes([]any{0, 0, 2, 0, 0, 9})))))
	f.Add([]byte(answer(result1(0, abi.StatusFailed, 1), must(abi.EffectsSectionText, 0, []byte("why")))))
	f.Fuzz(func(t *testing.T, said []byte) {
		before := batch.Live()
		r := open(t, plan{module: hostileModule, function: "puppet"})
		// Keys of others are negative, so that an answer's own rows are told apart.
		r.send(0, operatortest.Of(1, int64(-1), ""), operatortest.Of(2, int64(-2), ""), operatortest.Of(3, int64(3), "WRC1"+strings.TrimPrefix(string(said), "WRC1")),
			operatortest.Of(4, int64(-4), ""))
		r.close()
		var others []int64
		for _, row := range r.rows[0] {
			if key := row.Values[0].(int64); key < 0 && row.Values[1] == "" && row.Time == -key {
				others = append(others, key)
			}
		}
		if len(others) < 2 || others[0] != -1 || others[1] != -2 {
			t.Errorf("the records before came out as %v", others)
		}
		if batch.Live() != before {
			t.Errorf("%d batches or buffers are still alive", batch.Live()-before)
		}
	})
}
