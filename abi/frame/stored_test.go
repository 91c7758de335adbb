package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weirstream/weir/abi/schema"
)

// reseal makes the checksum right again, so that what is tested is the check behind it.
func reseal(msg []byte) []byte {
	sum := crc32.Checksum(append(bytes.Clone(msg[:28]), msg[32:]...), crc32.MakeTable(crc32.Castagnoli))
	binary.LittleEndian.PutUint32(msg[28:], sum)
	return msg
}

func TestEveryDamageOfAStoredFrameHasItsName(t *testing.T) {
	s := schema.MustParse("a:int64,b:utf8")
	b := NewBuilder(s)
	for i := range 100 {
		b.Column(0).AppendInt64(int64(i))
		b.Column(1).AppendString("some text")
	}
	le := binary.LittleEndian
	for _, codec := range []Codec{CodecNone, CodecS2, CodecZstd} {
		good, err := AppendStored(nil, Stored{Schema: s, Rows: 100, Columns: b.Columns()}, codec)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			change func(m []byte) []byte
			want   error
		}{
			"magic":           {func(m []byte) []byte { m[0]++; return m }, ErrNotStored},
			"version":         {func(m []byte) []byte { m[4] = 2; return m }, ErrVersion},
			"codec":           {func(m []byte) []byte { m[5] = 3; return reseal(m) }, ErrCodec},
			"flags":           {func(m []byte) []byte { m[6] = 1; return reseal(m) }, ErrVersion},
			"a flipped bit":   {func(m []byte) []byte { m[40] ^= 4; return m }, ErrChecksum},
			"header bit":      {func(m []byte) []byte { m[16] ^= 4; return m }, ErrChecksum},
			"cut":             {func(m []byte) []byte { return m[:len(m)-1] }, ErrTruncated},
			"cut in header":   {func(m []byte) []byte { return m[:20] }, ErrTruncated},
			"fingerprint":     {func(m []byte) []byte { m[8]++; return reseal(m) }, ErrFingerprint},
			"rows":            {func(m []byte) []byte { m[16]++; return reseal(m) }, ErrStored},
			"a raw size over": {func(m []byte) []byte { le.PutUint32(m[20:], MaxStoredRaw+1); return reseal(m) }, ErrTooLarge},
			"a wrong size":    {func(m []byte) []byte { le.PutUint32(m[20:], le.Uint32(m[20:])-8); return reseal(m) }, ErrStored},
			"a larger size":   {func(m []byte) []byte { le.PutUint32(m[20:], le.Uint32(m[20:])+8); return reseal(m) }, ErrStored},
		} {
			if _, _, err := DecodeStored(c.change(bytes.Clone(good)), nil); !errors.Is(err, c.want) {
				t.Errorf("%s, %s: %v, want %v", codec, name, err, c.want)
			}
		}
	}
}

func TestAFrameOverTheLimitIsRefusedByTheWriter(t *testing.T) {
	s := schema.MustParse("a:binary")
	b := NewBuilder(s)
	big := make([]byte, 33<<20)
	b.Column(0).AppendBytes(big)
	b.Column(0).AppendBytes(big)
	if _, err := AppendStored(nil, Stored{Schema: s, Rows: 2, Columns: b.Columns()}, CodecS2); !errors.Is(err, ErrTooLarge) {
		t.Errorf("have %v", err)
	}
	if _, err := AppendStored(nil, Stored{Schema: s, Rows: 1, Columns: b.Columns(), Selection: []int32{1}}, CodecS2); err != nil {
		t.Error(err)
	}
}

func TestASelectionPicksRowsTimesAndKindsAlike(t *testing.T) {
	s := schema.MustParse("a:int64")
	b := NewBuilder(s)
	for i := range 5 {
		b.Column(0).AppendInt64(int64(i))
	}
	msg, err := AppendStored(nil, Stored{Schema: s, Columns: b.Columns(), Times: []int64{0, 10, 20, 30, 40}, Kinds: []byte{0, 1, 2, 3, 0}, Selection: []int32{3, 1}}, CodecNone)
	if err != nil {
		t.Fatal(err)
	}
	f, _, err := DecodeStored(msg, nil)
	if err != nil || f.Rows != 2 || f.Columns[0].Int64s()[0] != 3 || f.Times[1] != 10 || f.Kinds[0] != 3 {
		t.Errorf("%+v, %v", f, err)
	}
	// A message may begin anywhere; the views must be aligned all the same.
	moved := append(make([]byte, 3, 3+len(msg)), msg...)[3:]
	if f, _, err = DecodeStored(moved, nil); err != nil || f.Columns[0].Int64s()[1] != 1 {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestExchangeFramesComeBack(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 9))
		rows := r.IntN(20)
		s, b, model := randomBatch(t, r, 2, rows)
		in := ExchangeRows{Rows: rows, Columns: b.Columns()}
		origin := ExchangeOriginRows{Topic: strings.Repeat("t", r.IntN(20)), Partition: int32(seed)}
		for i := range rows {
			in.Times = append(in.Times, int64(i)*10)
			in.Kinds = append(in.Kinds, byte(i%4))
			in.Hashes = append(in.Hashes, r.Uint64())
			origin.Sequences, origin.Rows = append(origin.Sequences, r.Uint64()), append(origin.Rows, r.Int32())
		}
		if seed%2 == 0 {
			in.Origin = &origin
		}
		for i := range rows {
			if r.IntN(2) == 0 {
				in.Selection = append(in.Selection, int32(rows-1-i))
			}
		}
		h := ExchangeHeader{Channel: 7, Sequence: 1<<16 - 3, Attempt: 1 << 40}
		var e Encoder
		msg := e.AppendBatch(nil, &h, s, &in)
		got, err := ReadExchangeHeader(msg)
		if err != nil || got != h || got.Size != len(msg)-32 {
			t.Fatalf("%+v, want %+v (%v)", got, h, err)
		}
		var out ExchangeRows
		if err := DecodeBatch(&got, msg[32:], s, &out); err != nil {
			t.Fatal(err)
		}
		sel := in.Selection
		if sel == nil {
			sel = allRows(rows)
		}
		sameRows(t, s, out.Columns, sel, model)
		for i, row := range sel {
			if out.Times[i] != in.Times[row] || out.Kinds[i] != in.Kinds[row] || out.Hashes[i] != in.Hashes[row] {
				t.Fatalf("row %d differs", i)
			}
			if in.Origin != nil && (out.Origin.Sequences[i] != origin.Sequences[row] || out.Origin.Rows[i] != origin.Rows[row]) {
				t.Fatalf("row %d was read elsewhere", i)
			}
		}
		if o := out.Origin; (o != nil) != (in.Origin != nil) || o != nil && (o.Topic != origin.Topic || o.Partition != origin.Partition) {
			t.Fatalf("origin %+v, want %+v", o, in.Origin)
		}
	}
}

func FuzzStored(f *testing.F) {
	for _, g := range storedVectors(f) {
		f.Add(unhex(f, g.Frame))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		if len(msg) >= 32 {
			msg = reseal(bytes.Clone(msg))
			if n := binary.LittleEndian.Uint32(msg[20:]); n > 1<<20 {
				return // memory of the fuzzer, not of the format
			}
		}
		s, _, err := DecodeStored(msg, nil)
		if err != nil {
			return
		}
		if s.Rows < 1000 {
			if _, err := AppendStored(nil, s, CodecS2); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzExchange(f *testing.F) {
	s := schema.MustParse("a:int64?,s:utf8")
	b := NewBuilder(s)
	b.Column(0).AppendNull()
	b.Column(1).AppendString("x")
	var e Encoder
	h := ExchangeHeader{Channel: 1}
	f.Add(e.AppendBatch(nil, &h, s, &ExchangeRows{Rows: 1, Columns: b.Columns(), Times: []int64{1}, Kinds: []byte{1}, Hashes: []uint64{2}}))
	f.Add(e.AppendBatch(nil, &h, s, &ExchangeRows{Rows: 1, Columns: b.Columns(), Origin: &ExchangeOriginRows{Topic: "t", Sequences: []uint64{1}, Rows: []int32{0}}}))
	f.Fuzz(func(t *testing.T, msg []byte) {
		h, err := ReadExchangeHeader(msg)
		if err != nil {
			return
		}
		var r ExchangeRows
		_ = DecodeBatch(&h, msg[32:], s, &r)
	})
}

func TestAnExchangeFrameStandsAsTheDiagramSays(t *testing.T) {
	s := schema.MustParse("n:int8")
	b := NewBuilder(s)
	for _, v := range []int8{1, 2, 3} {
		b.Column(0).AppendInt8(v)
	}
	var e Encoder
	got := e.AppendBatch(nil, &ExchangeHeader{Sequence: 0x0102, Channel: 3, Attempt: 4}, s, &ExchangeRows{
		Rows: 3, Columns: b.Columns(), Selection: []int32{2, 0}, Times: []int64{10, 11, 12}, Kinds: []byte{0, 1, 3}, Hashes: []uint64{20, 21, 22},
		Origin: &ExchangeOriginRows{Topic: "t", Partition: 5, Sequences: []uint64{30, 31, 32}, Rows: []int32{7, 8, 9}},
	})
	want := unhex(t, "80000000"+"01"+"0f"+"0201"+"03000000"+"02000000"+"0400000000000000"+"0000000000000000"+ // header: 128 bytes follow
		"02000000"+"01000000"+"30000000"+"00000000"+ // block: 2 rows, 1 node, 48 bytes
		"02000000"+"00000000"+"28000000"+"00000000"+"00000000"+"00000000"+ // node: length 2, values at 40
		"0301000000000000"+ // values
		"0c00000000000000"+"0a00000000000000"+ // times
		"0300000000000000"+ // kinds
		"1600000000000000"+"1400000000000000"+ // hashes
		"05000000"+"01000000"+"7400000000000000"+ // origin: partition, name
		"2000000000000000"+"1e00000000000000"+ // its sequences
		"0900000007000000") // its rows
	if !bytes.Equal(got, want) {
		t.Errorf("\n%x, want\n%x", got, want)
	}
}
