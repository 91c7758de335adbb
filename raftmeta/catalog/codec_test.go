package catalog

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestAPipelineAtAllItsLimitsTakesAtMostTwoKibibytes(t *testing.T) {
	s := New()
	apply := func(c Command) Result {
		t.Helper()
		next, r, err := s.Apply(c)
		if err != nil {
			t.Fatalf("%s: %v", Name(c), err)
		}
		s = next
		return r
	}
	rev := Revision{Graph: testDigest(0), Spec: testDigest(1), Widths: slices.Repeat([]int{200}, 4), Delivery: ExactlyOnce, Retain: MaxRetained, IntervalMs: 1 << 40, TimeoutMs: 1 << 40}
	for i := range 1 {
		apply(&PushModule{At: 1, Namespace: "default", Name: "m", Digest: testDigest(i), Manifest: testDigest(9), SizeBytes: 1})
		rev.Modules = append(rev.Modules, testDigest(i))
	}
	at := int64(1) << 51
	uid := apply(&ApplyPipeline{At: at, Namespace: "default", Name: strings.Repeat("n", MaxNameBytes), Nonce: strings.Repeat("x", MaxNonceBytes), Revision: rev}).UID
	var epochs []uint64
	for i := range 40 {
		e := apply(&RegisterWorker{At: at, ID: fmt.Sprintf("w%d", i), Slots: 5}).Number
		epochs = append(epochs, e, e, e, e, e)
	}
	apply(&StartAttempt{At: at, UID: uid, Attempt: 1, Revision: 1, Slots: SlotsOf(epochs)})
	apply(&ReserveCheckpoints{At: at, UID: uid, Count: MaxReservation})
	for id := range uint64(6) {
		r := apply(&CommitCheckpoints{At: at, Items: []Commit{{UID: uid, ID: id + 1, Attempt: 1, Manifest: testDigest(3), NextTimer: at}}})
		if len(r.Refused) != 0 {
			t.Fatal(r.Refused)
		}
	}
	apply(&SetJobState{At: at, UID: uid, Attempt: 1, To: JobFailed, Error: &JobError{Class: ErrorRetryable, Text: strings.Repeat("<é\"", 300), At: at, Evidence: testDigest(5)}})
	p, _ := s.Pipeline(uid)
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", len(b))
	if len(b) > MaxPipelineBytes {
		t.Errorf("the entry has %d bytes", len(b))
	}
	rev.Modules = nil
	for i := range 8 {
		apply(&PushModule{At: 1, Namespace: "default", Name: "m", Digest: testDigest(i), Manifest: testDigest(9), SizeBytes: 1})
		rev.Modules = append(rev.Modules, testDigest(i))
	}
	rev.Widths = slices.Repeat([]int{256}, MaxRegions)
	if _, _, err := s.Apply(&ApplyPipeline{At: 1, Namespace: "default", Name: strings.Repeat("o", MaxNameBytes), Revision: rev}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("an entry that can grow past the limit gave %v", err)
	}
}

func TestSlotsSurviveTheirRoundTripAndFindTheirWorkers(t *testing.T) {
	for _, epochs := range [][]uint64{nil, {7}, {1, 1, 2, 2, 2, 1}, {1 << 60, 3}} {
		s := SlotsOf(epochs)
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back Slots
		if err := json.Unmarshal(b, &back); err != nil || !slices.Equal(back, s) {
			t.Errorf("%v came back as %v: %v", s, back, err)
		}
		for i, e := range epochs {
			if back.Worker(i) != e || !slices.Contains(back.Of(e), i) {
				t.Errorf("slot %d of %v is on %d", i, epochs, back.Worker(i))
			}
		}
		if back.Len() != len(epochs) || back.Worker(len(epochs)) != 0 {
			t.Errorf("%v has %d slots", back, back.Len())
		}
	}
}

func TestAnUnknownCommandIsRefusedByItsName(t *testing.T) {
	entry := append([]byte{EntryVersion}, `[{"op":"pipeline.teleport","body":{}}]`...)
	if _, err := DecodeEntry(entry); !errors.Is(err, ErrUnknownCommand) || !strings.Contains(err.Error(), "pipeline.teleport") {
		t.Errorf("got %v", err)
	}
	entry = append([]byte{EntryVersion}, `[{"op":"namespace.create","body":{"at":1,"name":"x","colour":"red"}}]`...)
	if _, err := DecodeEntry(entry); err == nil || !strings.Contains(err.Error(), "colour") || !strings.Contains(err.Error(), "namespace.create") {
		t.Errorf("an unknown field gave %v", err)
	}
	if _, err := DecodeEntry([]byte{EntryVersion + 1, '['}); !errors.Is(err, ErrNewer) {
		t.Errorf("a newer entry gave %v", err)
	}
}

func TestEveryCommandHasANameOfItsOwn(t *testing.T) {
	seen := make(map[string]reflect.Type)
	for _, c := range commands {
		kind := reflect.TypeOf(c.make())
		if other, ok := seen[c.op]; ok {
			t.Errorf("%s names %v and %v", c.op, other, kind)
		}
		seen[c.op] = kind
		if Name(c.make()) != c.op {
			t.Errorf("%v is called %s", kind, Name(c.make()))
		}
		b, err := EncodeEntry(c.make())
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeEntry(b)
		if err != nil || !reflect.DeepEqual(back[0], c.make()) {
			t.Errorf("%s came back as %#v: %v", c.op, back, err)
		}
	}
}

func TestADamagedOrNewerImageIsRefused(t *testing.T) {
	b, err := EncodeImage(New())
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		bad := slices.Clone(b)
		bad[i] ^= 0x10
		if _, err := DecodeImage(bad); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
			t.Fatalf("byte %d flipped gave %v", i, err)
		}
	}
}

func TestATreeIsAMapWhoseOldVersionsStay(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var tr tree[int]
	m := map[string]int{}
	for i := range 3000 {
		key := fmt.Sprint(rng.IntN(400))
		before, size := tr, len(m)
		if rng.IntN(3) == 0 {
			tr = tr.without(key)
			delete(m, key)
		} else {
			tr = tr.with(key, i)
			m[key] = i
		}
		if before.len() != size || tr.len() != len(m) {
			t.Fatalf("step %d: %d entries, want %d", i, tr.len(), len(m))
		}
		if i%100 == 0 {
			if got := maps.Collect(tr.from("")); !maps.Equal(got, m) {
				t.Fatalf("step %d: %v, want %v", i, got, m)
			}
			var keys []string
			for k := range tr.from("2") {
				keys = append(keys, k)
			}
			if !slices.IsSorted(keys) || len(keys) > 0 && keys[0] < "2" {
				t.Fatalf("from 2: %v", keys)
			}
		}
	}
}

func FuzzDecodeEntry(f *testing.F) {
	for _, c := range commands {
		if b, err := EncodeEntry(c.make()); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := DecodeEntry(b)
		if err != nil {
			return
		}
		s := New()
		for _, c := range list {
			s, _, _ = s.Apply(c)
		}
		if _, err := DecodeImage(mustImage(t, s)); err != nil {
			t.Fatalf("what was applied gives an image that is refused: %v", err)
		}
	})
}

func FuzzDecodeImage(f *testing.F) {
	if b, err := EncodeImage(New()); err == nil {
		f.Add(b[len(imageMagic)+1 : len(b)-4])
	}
	f.Add([]byte(`{"pipelines":[{"uid":"p1","rev":{"widths":[1]},"job":{"state":"running","slots":"AgI"}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		b := append([]byte(imageMagic), ImageVersion)
		b = append(b, body...)
		b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
		s, err := DecodeImage(b)
		if err != nil {
			return
		}
		again, err := DecodeImage(mustImage(t, s))
		if err != nil || string(mustImage(t, again)) != string(mustImage(t, s)) {
			t.Fatalf("an image does not survive its round trip: %v", err)
		}
	})
}
