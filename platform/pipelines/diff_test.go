package pipelines

import (
	"testing"
	"time"

	"github.com/weirstream/weir/raftmeta/jobgraph"
)

func TestStateIsKeptWhereItsOldFormCanBeRead(t *testing.T) {
	value := func(codec, fields string, version int) *shape {
		return &shape{name: "s", state: jobgraph.State{Kind: "value", Codec: codec, Value: fields, Version: version}, key: [][]string{{"k"}}}
	}
	rekeyed := value("row", "1:a:int32", 0)
	rekeyed.key = [][]string{{"other"}}
	list := value("row", "1:a:int32", 0)
	list.state.Kind = "list"
	old := value("row", "1:a:int32", 0)
	for name, c := range map[string]struct {
		was, now *shape
		kept     bool
	}{
		"the same":                    {old, value("row", "1:a:int32", 0), true},
		"a field more":                {old, value("row", "1:a:int32,2:b:utf8?", 0), true},
		"a field renamed and widened": {old, value("row", "1:c:int64", 0), true},
		"an id with another meaning":  {old, value("row", "1:a:utf8", 0), false},
		"another codec":               {old, value("opaque", "", 0), false},
		"another kind":                {old, list, false},
		"another key":                 {old, rekeyed, false},
		"a later version of a codec":  {value("opaque", "", 1), value("opaque", "", 2), false},
	} {
		if why := incompatible(c.was, c.now); (why == "") != c.kept {
			t.Errorf("%s: %q", name, why)
		}
	}
}

func TestRatesAreOfTheLastSeconds(t *testing.T) {
	l := live{jobs: map[string]*history{}}
	id := taskID{stage: 1}
	at := func(seconds int, busy time.Duration) sample {
		return sample{at: time.Unix(int64(seconds), 0), busy: map[taskID]time.Duration{id: busy}, waited: map[taskID]time.Duration{id: busy / 4}}
	}
	if busy, _ := l.rates("p", 1, at(0, 0)); len(busy) != 0 {
		t.Errorf("a rate without samples: %v", busy)
	}
	// Idle for ten seconds, then busy half of the time: only the last five samples count.
	for s := range 10 {
		l.note("p", 1, at(s, 0))
	}
	for s := range 5 {
		l.note("p", 1, at(10+s, time.Duration(s)*time.Second/2))
	}
	busy, waited := l.rates("p", 1, at(15, 2500*time.Millisecond))
	if busy[id] != 0.375 || waited[id] != 0.125 { // 2.5 s of 5 s at it, a quarter of which it waited
		t.Errorf("busy %v, waited %v", busy[id], waited[id])
	}
	if busy, _ := l.rates("p", 2, at(16, 0)); len(busy) != 0 {
		t.Errorf("another attempt has the rates of the old one: %v", busy)
	}
}
