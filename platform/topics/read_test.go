package topics

import (
	"errors"
	"testing"
)

func TestNothingIsTakenBeyondALimitThoughPartitionsGoOn(t *testing.T) {
	q := quota{limit: 3}
	taken := 0
	for range 10 { // the end of one partition does not stop the others at once
		if q.spent() {
			continue
		}
		taken++
		if err := q.take(); errors.Is(err, errStop) != (taken == 3) {
			t.Errorf("record %d: %v", taken, err)
		}
	}
	if taken != 3 {
		t.Errorf("%d taken of 3", taken)
	}
	for range 10 {
		if none := new(quota); none.spent() || none.take() != nil {
			t.Error("no limit ends the reading")
		}
	}
}
