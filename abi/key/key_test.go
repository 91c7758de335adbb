package key

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
)

type keyVectors struct {
	Groups []struct {
		Schema, Block string
		Keys          []struct {
			Key, Hash string
			Group     uint8
		}
	}
	Partitions []struct {
		Key      string
		Of8, Of5 int
	}
}

func load(t testing.TB) (v keyVectors) {
	b, err := os.ReadFile("../testdata/vectors/keys.json")
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestKeysOfTheVectorsComeOutByteForByteAndBack(t *testing.T) {
	for _, g := range load(t).Groups {
		s := schema.MustParse(g.Schema)
		cols, n, err := frame.Decode(s, unhex(t, g.Block))
		if err != nil {
			t.Fatal(err)
		}
		var keys Keys
		if err := (Encoder{}).Encode(cols, nil, n, &keys); err != nil {
			t.Fatal(err)
		}
		hashes := HashAll(&keys, nil)
		back := frame.NewBuilder(s)
		for i, want := range g.Keys {
			if got := hex.EncodeToString(keys.Key(i)); got != want.Key {
				t.Errorf("%s, row %d: key %s, want %s", s, i, got, want.Key)
			}
			if got := fmt.Sprintf("%016x", hashes[i]); got != want.Hash || Hash(keys.Key(i)) != hashes[i] || Group(hashes[i]) != want.Group {
				t.Errorf("%s, row %d: hash %s, want %s", s, i, got, want.Hash)
			}
			if i > 0 && bytes.Compare(keys.Key(i-1), keys.Key(i)) >= 0 {
				t.Errorf("%s: key %d is not above the one before", s, i)
			}
		}
		if err := DecodeAll(&keys, back); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		var again Keys
		if err := (Encoder{}).Encode(back.Columns(), nil, n, &again); err != nil || !bytes.Equal(again.Bytes, keys.Bytes) {
			t.Errorf("%s: decoded and encoded again the keys differ (%v)", s, err)
		}
		sel := []int32{int32(n - 1), 0}
		if err := (Encoder{}).Encode(cols, sel, 0, &again); err != nil || !bytes.Equal(again.Key(0), keys.Key(n-1)) || !bytes.Equal(again.Key(1), keys.Key(0)) {
			t.Errorf("%s: a selection gives other keys (%v)", s, err)
		}
	}
}

func TestPartitionsAreThoseOfNATS(t *testing.T) {
	for _, p := range load(t).Partitions {
		k := unhex(t, p.Key)
		if Partition(k, 8) != p.Of8 || Partition(k, 5) != p.Of5 {
			t.Errorf("%q: %d of 8, %d of 5, want %d and %d", k, Partition(k, 8), Partition(k, 5), p.Of8, p.Of5)
		}
	}
}

func TestTheShortHashIsTheHash(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var b [9]byte
	for range 10000 {
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if hash9(b[:]) != xxhash.Sum64(b[:]) {
			t.Fatalf("%x", b)
		}
	}
}

func TestDecimalsOfEqualValueHaveOneKeyWhateverTheirScale(t *testing.T) {
	for _, c := range []struct {
		a      int64
		aScale int
		b      int64
		bScale int
	}{{15, 1, 1500, 3}, {-7, 0, -700, 2}, {10, 0, 1, -1}} {
		if c.bScale < 0 {
			c.b, c.bScale = c.b*10, 0
		}
		a := AppendDecimal(nil, c.a>>63, uint64(c.a), c.aScale)
		b := AppendDecimal(nil, c.b>>63, uint64(c.b), c.bScale)
		if !bytes.Equal(a, b) {
			t.Errorf("%d e-%d is %x, %d e-%d is %x", c.a, c.aScale, a, c.b, c.bScale, b)
		}
	}
}

func TestAKeyOverTheLimitNamesItsRow(t *testing.T) {
	for _, text := range []string{"k:utf8", "k:utf8?", "k:utf8,j:int64"} {
		s := schema.MustParse(text)
		b := frame.NewBuilder(s)
		for _, n := range []int{3, 4000, MaxBytes} {
			b.Column(0).AppendString(strings.Repeat("x", n))
			for j := 1; j < s.Len(); j++ {
				b.Column(j).AppendInt64(1)
			}
		}
		var keys Keys
		err := (Encoder{}).Encode(b.Columns(), nil, 3, &keys)
		var long *TooLongError
		if !errors.As(err, &long) || long.Row != 2 || !errors.Is(err, ErrTooLong) {
			t.Errorf("%s: %v", text, err)
		}
		if err := (Encoder{}).Encode(b.Columns(), nil, 2, &keys); err != nil || keys.Len() != 2 {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestListsStructsAndMapsAreNotKeys(t *testing.T) {
	for _, text := range []string{"a:list<int8>", "a:struct<b:int8>", "a:map<utf8,int8>"} {
		if Check(schema.MustParse(text)) == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}

func FuzzDecode(f *testing.F) {
	s := []*schema.Schema{
		schema.MustParse("a:utf8?,b:decimal(38,2)?,c:float32?,d:binary"), schema.MustParse("a:decimal(38,9)"),
		schema.MustParse("a:bool,b:int8?,c:float64"), schema.MustParse("a:binary?,b:utf8"),
	}
	for _, g := range load(f).Groups {
		for _, k := range g.Keys {
			for i := range s {
				f.Add(uint8(i), unhex(f, k.Key))
			}
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, key []byte) {
		b := frame.NewBuilder(s[int(which)%len(s)])
		if err := Decode(key, b); err != nil {
			if b.Rows() != 0 {
				t.Fatal("rows after an error")
			}
			return
		}
		if again := AppendRow(nil, b.Columns(), 0); !bytes.Equal(again, key) {
			t.Fatalf("%x is accepted and written as %x", key, again)
		}
	})
}

func benchmarkKeys(b *testing.B, text string) {
	s := schema.MustParse(text)
	build := frame.NewBuilder(s)
	const rows = 4096
	for i := range rows {
		for j := range s.Fields {
			if s.Fields[j].Type.Kind == schema.Utf8 {
				build.Column(j).AppendString(fmt.Sprintf("customer-%07d", i))
			} else {
				build.Column(j).AppendInt64(int64(i) * 7919)
			}
		}
	}
	cols := build.Columns()
	var keys Keys
	var hashes []uint64
	var e Encoder
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Encode(cols, nil, rows, &keys); err != nil {
			b.Fatal(err)
		}
		hashes = HashAll(&keys, hashes)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
}

func BenchmarkEncodeAndHashInt64(b *testing.B)        { benchmarkKeys(b, "k:int64") }
func BenchmarkEncodeAndHashUtf8(b *testing.B)         { benchmarkKeys(b, "k:utf8") }
func BenchmarkEncodeAndHashUtf8AndInt64(b *testing.B) { benchmarkKeys(b, "k:utf8,j:int64") }
