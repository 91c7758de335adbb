package join

import (
	"encoding/hex"
	"testing"

	"github.com/weirstream/weir/platform/operator/operatortest"
)

// These bytes stand in checkpoints: time, then abi/row with ids from 1.
func TestAStoredRowHasTheBytesOfItsShape(t *testing.T) {
	s := spec(byOrder, false)
	p := s.MustPlan(t)
	if got, want := p.State[left].Value, "1:id:int32?,2:what:utf8?,3:price:decimal(9,2),4:ok:bool"; got != want {
		t.Errorf("the left shape is %s, want %s", got, want)
	}
	if got, want := p.State[right].Value, "1:amount:float64?,2:small:float32,3:at:timestamp,4:raw:binary"; got != want {
		t.Errorf("the right shape is %s, want %s", got, want)
	}
	o := operatortest.Open(t, s, operatortest.KeepRows)
	defer o.Close()
	o.Process(left, operatortest.Of(258, int64(7), nil, operatortest.DecimalOf(-1), true))
	const want = "0201000000000000" + // 258 µs
		"080e" + // 1, varint: zigzag 7
		"1b02" + "ffffffffffffffffffffffffffffffff" + // 3, decimal: scale 2, -1
		"2002" // 4, varint: true
	entries := o.Barrier()
	if len(entries) != 1 {
		t.Fatalf("%d entries, want 1", len(entries))
	}
	if got := hex.EncodeToString(entries[0].Value); got != want {
		t.Errorf("stored %s, want %s", got, want)
	}
}
