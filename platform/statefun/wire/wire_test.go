package wire

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// Bytes that the Go SDK 3.3.0 has sent and taken: function com.example/greeter, one int state `seen`.
const (
	goldenIncomplete = "aa06210a1f0a047365656e12001a15696f2e737461746566756e2e74797065732f696e74"
	goldenRequest    = "a2069b010a1d0a0b636f6d2e6578616d706c651207677265657465721a05616c69636512280a047365656e12200a15696f2e737461746566756e2e74797065732f696e7410011a050d290000001a2712250a18696f2e737461746566756e2e74797065732f737472696e6710011a070a05616c6963651a2712250a18696f2e737461746566756e2e74797065732f737472696e6710011a070a05616c696365"
	goldenReply      = "a206b6010a2a080112047365656e1a200a15696f2e737461746566756e2e74797065732f696e7410011a050d2b00000012430a170a0b636f6d2e6578616d706c651205696e626f781a017812280a18696f2e737461746566756e2e74797065732f737472696e6710011a0a0a0868656c6c6f20343212430a170a0b636f6d2e6578616d706c651205696e626f781a017812280a18696f2e737461746566756e2e74797065732f737472696e6710011a0a0a0868656c6c6f203433"
)

func golden(t testing.TB, text string) []byte {
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestARequestIsByteForByteWhatTheSDKsTake(t *testing.T) {
	var r Request
	for range 2 { // memory that was used before
		r.Begin(Address{[]byte("com.example"), []byte("greeter"), []byte("alice")})
		r.State("seen", &Typed{[]byte("io.statefun.types/int"), []byte("\x0d\x29\x00\x00\x00")})
		for range 2 {
			r.Invocation(nil, Typed{[]byte("io.statefun.types/string"), []byte("\x0a\x05alice")})
		}
		if got := hex.EncodeToString(r.Bytes()); got != goldenRequest {
			t.Fatalf("have %s\nwant %s", got, goldenRequest)
		}
	}
	r.Begin(Address{[]byte("n"), []byte("t"), []byte("i")})
	r.State("s", nil)
	r.Invocation(&Address{[]byte("a"), []byte("b"), []byte("c")}, Typed{Typename: []byte("x")})
	// Written out by hand from the table of fields.
	want := "a206" + "22" + "0a09" + "0a016e" + "120174" + "1a0169" + "1203" + "0a0173" + "1a10" + "0a09" + "0a0161" + "120162" + "1a0163" + "1203" + "0a0178"
	if got := hex.EncodeToString(r.Bytes()); got != want {
		t.Errorf("have %s\nwant %s", got, want)
	}
}

func TestRepliesOfTheSDKsAreRead(t *testing.T) {
	var r Reply
	if err := r.Read(golden(t, goldenIncomplete)); err != nil {
		t.Fatal(err)
	}
	if !r.Incomplete || len(r.Missing) != 1 || r.Missing[0] != (Spec{Name: "seen", Typename: "io.statefun.types/int"}) {
		t.Errorf("%+v", r)
	}
	if err := r.Read(golden(t, goldenReply)); err != nil {
		t.Fatal(err)
	}
	if r.Incomplete || len(r.Missing) != 0 || len(r.Mutations) != 1 || len(r.Sends) != 2 || len(r.Egresses) != 0 {
		t.Fatalf("%+v", r)
	}
	if m := r.Mutations[0]; string(m.Name) != "seen" || string(m.Value.Typename) != "io.statefun.types/int" || string(m.Value.Value) != "\x0d\x2b\x00\x00\x00" {
		t.Errorf("%+v", m)
	}
	if s := r.Sends[1]; string(s.Target.Type) != "inbox" || string(s.Target.ID) != "x" || string(s.Argument.Value) != "\x0a\x08hello 43" || s.Delayed {
		t.Errorf("%+v", s)
	}
}

// message writes a field of a reply by hand.
func message(number protowire.Number, parts ...[]byte) []byte {
	var body []byte
	for _, p := range parts {
		body = append(body, p...)
	}
	return appendMessage(nil, number, body)
}

func number(n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), v)
}

func TestDelayedMessagesCancellationsEgressesAndDeletionsAreRead(t *testing.T) {
	typed := message(3, message(1, []byte("type")), number(2, 1))
	b := message(100,
		message(1, number(1, 0), message(2, []byte("gone"))),
		message(3, number(1, 1500), message(2, message(1, []byte("n")), message(2, []byte("t")), message(3, []byte("i"))), typed, message(11, []byte("tok"))),
		message(3, number(10, 1), message(11, []byte("tok"))),
		message(4, message(1, []byte("e")), message(2, []byte("out")), typed),
		message(77, []byte("later versions")), number(78, 5),
	)
	var r Reply
	if err := r.Read(b); err != nil {
		t.Fatal(err)
	}
	if len(r.Mutations) != 1 || r.Mutations[0].Value != nil || string(r.Mutations[0].Name) != "gone" {
		t.Errorf("%+v", r.Mutations)
	}
	if s := r.Sends[0]; !s.Delayed || s.DelayMs != 1500 || s.Cancel || string(s.Token) != "tok" || s.Argument.Value == nil || len(s.Argument.Value) != 0 {
		t.Errorf("%+v", s)
	}
	if s := r.Sends[1]; !s.Cancel || string(s.Token) != "tok" {
		t.Errorf("%+v", s)
	}
	if e := r.Egresses[0]; string(e.Namespace) != "e" || string(e.Type) != "out" || string(e.Argument.Typename) != "type" {
		t.Errorf("%+v", e)
	}
	if err := r.Read(nil); err != nil || r.Incomplete || len(r.Sends) != 0 {
		t.Errorf("an empty reply: %+v, %v", r, err)
	}
}

func TestWhatIsNoReplyIsRefused(t *testing.T) {
	var r Reply
	for what, b := range map[string][]byte{
		"a page":               []byte("<html><body>502 Bad Gateway</body></html>"),
		"half":                 golden(t, goldenReply)[:40],
		"unknown mutation":     message(100, message(1, number(1, 7))),
		"a number for a text":  message(100, message(1, number(2, 7))),
		"a state without name": message(101, message(1, message(3, []byte("t")))),
		"no UTF-8":             message(100, message(1, message(2, []byte("\xff")))),
		"only what is unknown": message(77, []byte("later versions")),
		"unknown expiration":   message(101, message(1, message(1, []byte("s")), message(2, number(1, 9)))),
	} {
		if err := r.Read(b); !errors.Is(err, ErrReply) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Texts, of which some are messages of unknown fields by chance.
	for _, text := range []string{"<html>\n <body>502 Bad Gateway</body></html>", `{"error":"no"}`, "OK", "pa", "höhe"} {
		err := r.Read([]byte(text))
		if !errors.Is(err, ErrReply) || !errors.Is(err, ErrText) || !strings.Contains(err.Error(), strconv.Quote(strings.Join(strings.Fields(text), " "))) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := r.Read(make([]byte, MaxReplyBytes+1)); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Error(err)
	}
}

func TestOfTheTwoAnswersTheLastOneCounts(t *testing.T) {
	result, incomplete := golden(t, goldenReply), golden(t, goldenIncomplete)
	var r Reply
	if err := r.Read(slices.Concat(incomplete, result)); err != nil || r.Incomplete || len(r.Missing) != 0 || len(r.Sends) != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := r.Read(slices.Concat(result, incomplete)); err != nil || !r.Incomplete || len(r.Missing) != 1 || len(r.Sends)+len(r.Mutations) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	// The same one twice is one message in two parts.
	if err := r.Read(slices.Concat(result, result)); err != nil || len(r.Sends) != 4 || len(r.Mutations) != 2 || string(r.Mutations[1].Value.Value) != "\x0d\x2b\x00\x00\x00" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestAReplyThatWasReadBeforeTakesNoMemory(t *testing.T) {
	var r Reply
	b := golden(t, goldenReply)
	var q Request
	var name, typename, value = []byte("greeter"), []byte("t"), []byte("v")
	state := Typed{typename, value}
	n := testing.AllocsPerRun(100, func() {
		if err := r.Read(b); err != nil {
			t.Error(err)
		}
		q.Begin(Address{name, name, name})
		q.State("seen", &state)
		q.Invocation(nil, state)
		q.Bytes()
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzRecords(f *testing.F) {
	f.Add([]byte("\x0a\x01k\x12\x01v\x1a\x01t"))
	f.Add([]byte(`{"topic":"t","payload":"p"}`))
	f.Add([]byte("\x0d\x29\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ReadKafkaRecord(b); err == nil && len(r.Key)+len(r.Value)+len(r.Topic) > len(b) {
			t.Errorf("%+v of %x", r, b)
		}
		if r, err := ReadPlaygroundRecord(b); err == nil && r.Topic == "" {
			t.Errorf("%+v of %q", r, b)
		}
		for _, kind := range []string{"bool", "int", "long", "float", "double", "string"} {
			if v, ok := Plain(PrimitivePrefix+kind, b); ok {
				if _, err := json.Marshal(v); err != nil {
					t.Errorf("%s of %x cannot be shown: %v", kind, b, err)
				}
			}
		}
	})
}

func FuzzReply(f *testing.F) {
	f.Add(golden(f, goldenReply))
	f.Add(golden(f, goldenIncomplete))
	f.Add(golden(f, goldenRequest))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Reply
		if err := r.Read(b); err != nil {
			return
		}
		for _, m := range r.Mutations {
			if m.Value != nil {
				_ = len(m.Value.Typename) + len(m.Value.Value)
			}
		}
	})
}

func BenchmarkRequestAndReply(b *testing.B) {
	reply := golden(b, goldenReply)
	var req Request
	var r Reply
	target := Address{[]byte("com.example"), []byte("greeter"), []byte("alice")}
	value := Typed{[]byte("io.statefun.types/string"), []byte("\x0a\x05alice")}
	b.ReportAllocs()
	for b.Loop() {
		req.Begin(target)
		req.Invocation(nil, value)
		req.Bytes()
		if err := r.Read(reply); err != nil {
			b.Fatal(err)
		}
	}
}
