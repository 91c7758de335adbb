package snapshot

import (
	"bytes"
	"os"
	"testing"

	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/platform/storage/state"
)

func seeds(f *testing.F, names ...string) {
	for _, name := range names {
		b, err := os.ReadFile("testdata/v1/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
}

// readAll is a restore of a segment whose checksums are right, however wrong
// the rest is.
func readAll(b []byte, tailBytes int) (entries int) {
	if tailBytes < 0 || tailBytes > len(b) {
		return 0
	}
	x, err := parseTail(b[len(b)-tailBytes:], int64(len(b)))
	if err != nil {
		return 0
	}
	for _, r := range x.blocks {
		if raw, err := openBlock(b[r.offset:r.offset+int64(r.length)], nil); err == nil {
			entries += readRaw(raw, x.states)
		}
	}
	return entries
}

func readRaw(raw []byte, states []string) (entries int) {
	var r blockEntries
	r.reset(raw, states)
	for r.next() {
		entries++
	}
	return entries
}

func FuzzSegment(f *testing.F) {
	var b bytes.Buffer
	s, _ := newSegmentWriter(&b)
	for _, e := range values(30, 10) {
		_ = s.add(e)
	}
	info, _ := s.close()
	f.Add(b.Bytes(), int(info.tailBytes))
	f.Fuzz(func(t *testing.T, b []byte, tailBytes int) { readAll(b, tailBytes) })
}

func FuzzBlock(f *testing.F) {
	w, _ := newSegmentWriter(&bytes.Buffer{})
	w.encode(state.Entry{State: "v", Key: []byte("k"), Sub: []byte{}, Value: []byte("v"), Expires: 1})
	f.Add(w.raw.b)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if n := readRaw(raw, []string{"a", "b"}); n > len(raw)/2 {
			t.Errorf("%d entries in %d bytes", n, len(raw))
		}
	})
}

// A message that decodes has one encoding less its table of names, which may
// hold names that nothing refers to: encoding what was decoded is stable.
func FuzzPart(f *testing.F) {
	small, err := WritePart(f.Context(), memblob.New(memblob.Options{}), PartID{"p", 1, 1, "w"}, []OperatorSnapshot{
		{Operator: "op", Groups: AllGroups(), Keyed: values(2, 1), Items: []Item{{KindSplit, "0", [][]byte{[]byte("x")}}}}})
	if err != nil {
		f.Fatal(err)
	}
	segments := small.Operators[0].Segments
	small.Merged = []Merged{{Merge{"op", AllGroups(), segments, true}, segments}}
	f.Add(small.Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		fixed := append(bytes.Clone(b), 0, 0, 0, 0)
		sum := encoder{}
		sum.u32(checksum(b))
		copy(fixed[len(b):], sum.b)
		for _, b := range [][]byte{b, fixed} {
			p, err := UnmarshalPart(b)
			if err != nil {
				continue
			}
			once := p.Marshal()
			again, err := UnmarshalPart(once)
			if err != nil || !bytes.Equal(again.Marshal(), once) {
				t.Errorf("decoded and encoded: %v", err)
			}
		}
	})
}

func FuzzManifest(f *testing.F) {
	seeds(f, "object0")
	f.Fuzz(func(t *testing.T, b []byte) {
		m, _, err := DecodeManifest(b)
		if err != nil {
			return
		}
		once, _ := m.Encode()
		again, _, err := DecodeManifest(once)
		if err != nil {
			t.Fatal(err)
		}
		if twice, _ := again.Encode(); !bytes.Equal(twice, once) {
			t.Error("encoding is not stable")
		}
	})
}
