package statereader

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// The bytes are written by hand from section 3 of the ABI: a tag (01 null, 02 value),
// integers with the sign flipped, text inside a key ended by 0001.
func TestAKeyAsPeopleWriteItBecomesItsCanonicalBytes(t *testing.T) {
	for _, c := range []struct{ columns, text, want string }{
		{"id:int64", "7", "028000000000000007"},
		{"id:int64", "-1", "027fffffffffffffff"},
		{"id:int64", "[7]", "028000000000000007"},
		{"user:utf8", "ann", "02616e6e"},
		{"user:utf8", "a,b", "02612c62"},
		{"user:utf8", "7", "0237"},
		{"user:utf8", `["[x"]`, "025b78"},
		{"user:utf8", "", "02"},
		{"user:utf8?", "[null]", "01"},
		{"on:bool", "true", "0201"},
		{"user:utf8,id:int32", "ann,7", "02616e6e0001" + "028000000000000007"},
		{"user:utf8,id:int32", `["a,n",7]`, "02612c6e0001" + "028000000000000007"},
		{"at:timestamp", "1970-01-01T00:00:00.000001Z", "028000000000000001"},
	} {
		got, err := parseKey(schema.MustParse(c.columns), c.text)
		if err != nil || hex.EncodeToString(got) != c.want {
			t.Errorf("%s %q: %x, %v; want %s", c.columns, c.text, got, err, c.want)
		}
	}
}

func TestAKeyOfAnotherTypeIsRefusedWithTheTypeThatIsWanted(t *testing.T) {
	for _, c := range []struct{ columns, text, says string }{
		{"id:int64", "ann", "int64"},
		{"id:int64", `7,"id":8`, "int64"},
		{"id:int64", "1.5", "int64"},
		{"id:int8", "300", "int8"},
		{"id:int64", "[null]", "not nullable"},
		{"user:utf8,id:int32", "ann", "it has 1 values, want 2"},
		{"user:utf8,id:int32", "ann,b,7", "it has 3 values, want 2"},
		{"user:utf8,id:int32", `["ann"]`, "it has 1 values, want 2"},
		{"user:utf8", "[ann", "no JSON list"},
		{"user:utf8", strings.Repeat("x", MaxKeyBytes+1), "the limit is 65536"},
		{"user:utf8", strings.Repeat("x", 4096), "the limit is 4096"},
		{"at:timestamp", "yesterday", "at"},
	} {
		_, err := parseKey(schema.MustParse(c.columns), c.text)
		var h interface{ Hint() string }
		if !errors.Is(err, catalog.ErrInvalid) || !strings.Contains(err.Error(), c.says) || !errors.As(err, &h) || !strings.Contains(h.Hint(), c.columns) {
			t.Errorf("%s %.40q: %v; want it to say %q", c.columns, c.text, err, c.says)
		}
	}
}

func bytesOf(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The rows are written by hand from section 4: a tag of 8*id+wire, zigzag numbers, lengths before text.
func TestEntriesAreShownByTheShapesOfTheGraph(t *testing.T) {
	s := &shapes{key: schema.MustParse("user:utf8,id:int64"), states: map[string]*shape{}, timers: []string{"close"}}
	for _, st := range []jobgraph.State{
		{Name: "total", Kind: "value", Codec: "row", Value: "1:count:int64,2:name:utf8?"},
		{Name: "seen", Kind: "value", Codec: "row", Value: "1:value:int64"},
		{Name: "pages", Kind: "map", Form: "hosted", Codec: "row", Key: "int64", Value: "1:value:int64"},
		{Name: "log", Kind: "list", Form: "hosted", Codec: "json"},
		{Name: "blob", Kind: "value", Codec: "bytes"},
	} {
		var err error
		if s.states[st.Name], err = shapeOf(st); err != nil {
			t.Fatal(err)
		}
	}
	const seven = "028000000000000007"
	for _, c := range []struct {
		name, sub, value                  string // name of the state; hex
		entry, shown, bytes, unread, kind string
	}{
		{"total", "", "0806", "", `{"count":3,"name":null}`, "", "", "value"},
		{"seen", "", "0806", "", "3", "", "", "value"},
		{"pages", seven, "0804", "7", "2", "", "", "map"},
		{"log", "0000000000000005", hex.EncodeToString([]byte(`{"a":1}`)), "5", `{"a":1}`, "", "", "list"},
		{"log", "0000000000000005", "7b", "5", "", "7b", "no JSON", "list"},
		{"blob", "", "ff00", "", "", "ff00", "", "value"},
		{"seen", "", "ffff", "", "", "ffff", "value: ", "value"},
		{"gone", "", "01", "", "", "01", "does not have this state", ""},
	} {
		e := &state.Entry{State: c.name, Key: bytesOf(t, "02616e6e0001"+seven), Value: bytesOf(t, c.value), Expires: 1_000_000}
		if c.sub != "" {
			e.Sub = bytesOf(t, c.sub)
		}
		got := s.show(e)
		if got.Key != `["ann",7]` || got.Entry != c.entry || got.Value != c.shown || hex.EncodeToString(got.Bytes) != c.bytes || got.Kind != c.kind ||
			!strings.Contains(got.Undecoded, c.unread) || (c.unread == "") != (got.Undecoded == "") || got.Expires.GetSeconds() != 1 {
			t.Errorf("%s %s: %v", c.name, c.value, got)
		}
	}
	timer := s.show(&state.Entry{State: state.TimerState, Key: bytesOf(t, "02616e6e0001"+seven), Sub: bytesOf(t, "01"+"80000000000f4240"+"0000")})
	if timer.Kind != kindTimer || timer.Entry != "close" || timer.Clock != "event_time" || timer.Due.GetSeconds() != 1 {
		t.Errorf("timer: %v", timer)
	}
	unknown := s.show(&state.Entry{State: state.TimerState, Key: bytesOf(t, "02616e6e0001"+seven), Sub: bytesOf(t, "02"+"ffffffffffffffff"+"0003")})
	if unknown.Entry != "#3" || unknown.Clock != "processing_time" || unknown.Due != nil || unknown.Value != "9223372036854775807" {
		t.Errorf("a timer that no year has: %v", unknown)
	}
}

// Whatever stands in a file, showing it ends, and says what could not be read.
func FuzzAnyEntryCanBeShown(f *testing.F) {
	s := &shapes{key: schema.MustParse("user:utf8,id:int64"), states: map[string]*shape{}}
	for _, st := range []jobgraph.State{{Name: "m", Kind: "map", Codec: "row", Key: "utf8", Value: "1:value:list<int64>"}, {Name: "l", Kind: "list", Codec: "json"}} {
		s.states[st.Name], _ = shapeOf(st) // written above, and right
	}
	f.Add("m", []byte{2, 'a', 0, 1, 2, 0x80, 0, 0, 0, 0, 0, 0, 7}, []byte{2, 'a'}, []byte{0x0a, 1, 0})
	f.Add(state.TimerState, []byte{}, []byte{1}, []byte{})
	f.Add("l", []byte{1}, []byte{0}, []byte("{}"))
	f.Fuzz(func(t *testing.T, name string, key, sub, value []byte) {
		got := s.show(&state.Entry{State: name, Key: key, Sub: sub, Value: value})
		if name != state.TimerState && got.Value == "" && string(got.Bytes) != string(value) {
			t.Errorf("neither value nor bytes: %v", got)
		}
	})
}

// A key that a person can write is one that is shown, and comes out as what went in.
func FuzzAKeyFromAnywhereIsReadOrRefused(f *testing.F) {
	s := schema.MustParse("user:utf8,id:int64?")
	for _, text := range []string{"ann,7", `["a",null]`, "[", "a,b", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := parseKey(s, text)
		if err != nil {
			return
		}
		shown, err := rowText(s, b)
		if err != nil {
			t.Fatalf("%q is %x, which is not shown: %v", text, b, err)
		}
		if again, err := parseKey(s, shown); err != nil || string(again) != string(b) {
			t.Errorf("%q is shown as %s, which is %x, %v; want %x", text, shown, again, err, b)
		}
	})
}
