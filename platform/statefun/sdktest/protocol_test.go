package sdktest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/platform/statefun/wire"
)

// What all four SDKs answer to the second and third message of greeter a, "x" and
// "y": seen = 3, and "a x 2" and "a y 3" to inbox all.
const goldenBatch = "a206b401" +
	"0a2a080112047365656e1a200a15696f2e737461746566756e2e74797065732f696e7410011a050d03000000" +
	"12420a190a0b636f6d2e6578616d706c651205696e626f781a03616c6c12250a18696f2e737461746566756e2e74797065732f737472696e6710011a070a056120782032" +
	"12420a190a0b636f6d2e6578616d706c651205696e626f781a03616c6c12250a18696f2e737461746566756e2e74797065732f737472696e6710011a070a056120792033"

func TestStatesAreDeclaredWhenARequestLacksThem(t *testing.T) {
	each(t, func(t *testing.T, s sdk, address string) {
		h := newHost(t, address)
		if err := h.once("greeter", "a", word("x")); err != nil {
			t.Fatal(err)
		}
		want := "aa061f" + "0a1d" + "0a047365656e" + "1a15696f2e737461746566756e2e74797065732f696e74"
		if s.saysNever { // an expiration that is empty: the golden bytes of the Go SDK
			want = "aa0621" + "0a1f" + "0a047365656e" + "1200" + "1a15696f2e737461746566756e2e74797065732f696e74"
		}
		if got := hex.EncodeToString(h.raw); got != want {
			t.Errorf("the declaration is %s, want %s", got, want)
		}
		h.deliver("inbox", "all", word("n"))
		if got, want := h.specs["inbox"], (wire.Spec{Name: "count", Typename: "io.statefun.types/int", Expiration: wire.AfterWrite, AfterMillis: 3_600_000}); len(got) != 1 || got[0] != want {
			t.Errorf("%+v, want %+v", got, want)
		}

		// Only what is lacking is named, in whatever order.
		declared := func() map[string]wire.Spec {
			t.Helper()
			if err := h.once("types", "a", word("n")); err != nil || !h.reply.Incomplete {
				t.Fatalf("%v, %+v", err, h.reply)
			}
			m := map[string]wire.Spec{}
			for _, spec := range h.reply.Missing {
				m[spec.Name] = spec
			}
			return m
		}
		all := map[string]wire.Spec{"user": {Name: "user", Typename: "com.example/User"}}
		for _, kind := range s.types {
			all[kind] = wire.Spec{Name: kind, Typename: wire.PrimitivePrefix + kind}
		}
		all["string"] = wire.Spec{Name: "string", Typename: stringType, Expiration: wire.AfterInvoke, AfterMillis: 60_000}
		if got := declared(); !maps.Equal(got, all) {
			t.Errorf("%+v, want %+v", got, all)
		}
		h.specs["types"] = []wire.Spec{all["int"], {Name: "of an older revision"}, all["user"]}
		delete(all, "int")
		delete(all, "user")
		if got := declared(); !maps.Equal(got, all) {
			t.Errorf("%+v, want %+v", got, all)
		}
	})
}

func TestABatchIsOneReplyInItsOrder(t *testing.T) {
	each(t, func(t *testing.T, s sdk, address string) {
		h := newHost(t, address)
		h.deliver("greeter", "a", word("w"))
		h.deliver("greeter", "b", word("elsewhere")) // another address has other state
		h.specs["greeter"] = append(h.specs["greeter"], wire.Spec{Name: "of an older revision"})
		h.deliver("greeter", "a", word("x"), word("y"))
		if got := hex.EncodeToString(h.raw); got != goldenBatch {
			t.Errorf("the reply is %s, want %s", got, goldenBatch)
		}
		h.deliver("greeter", "a", word("forget"))
		if m := h.reply.Mutations; len(m) != 1 || string(m[0].Name) != "seen" || m[0].Value != nil {
			t.Errorf("a deletion is %+v", m)
		}
		h.deliver("greeter", "a", word("x"), word("forget"), word("z"))
		if got := sent(h); !slices.Equal(got, []string{"com.example/inbox/all <- a x 1", "com.example/inbox/all <- a z 1"}) {
			t.Errorf("%q", got)
		}
		if m := h.reply.Mutations; len(m) != 1 || string(m[0].Value.Value) != "\x0d\x01\x00\x00\x00" {
			t.Errorf("of several changes of one state the last is said: %+v", m)
		}
		for _, batch := range [][]input{{word("nothing")}, {}} {
			h.deliver("greeter", "a", batch...)
			if got := hex.EncodeToString(h.raw); got != s.nothing {
				t.Errorf("nothing is %q, want %q", got, s.nothing)
			}
		}
	})
}

// sent says what goes to whom.
func sent(h *host) (out []string) {
	for _, s := range h.reply.Sends {
		line := fmt.Sprintf("%s/%s/%s <- ", s.Target.Namespace, s.Target.Type, s.Target.ID)
		if v, ok := wire.Plain(string(s.Argument.Typename), s.Argument.Value); ok {
			line += fmt.Sprint(v)
		}
		if s.Delayed {
			line += fmt.Sprintf(" after %d ms, token %q", s.DelayMs, s.Token)
		}
		if s.Cancel {
			line = fmt.Sprintf("cancel %q", s.Token)
		}
		out = append(out, line)
	}
	return out
}

func TestDelayedMessagesAndCancellations(t *testing.T) {
	each(t, func(t *testing.T, _ sdk, address string) {
		h := newHost(t, address)
		for _, c := range []struct {
			word string
			want []string
		}{
			{"later", []string{`com.example/greeter/a <- reminded after 300 ms, token "tok"`}},
			{"never", []string{`cancel "tok"`}},
			{"again", []string{
				`com.example/greeter/a <- first after 1000 ms, token "tok"`, `com.example/greeter/a <- second after 2000 ms, token ""`, `cancel "tok"`,
			}},
		} {
			h.deliver("greeter", "a", word(c.word))
			if got := sent(h); !slices.Equal(got, c.want) {
				t.Errorf("%s: %q, want %q", c.word, got, c.want)
			}
		}
		// A cancellation has a token and nothing else, so its scope is the host's affair.
		h.deliver("greeter", "a", word("never"))
		if s := h.reply.Sends[0]; s.Target.Type != nil || s.Argument.Typename != nil || s.DelayMs != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestCallersAreAnsweredAndIngressesHaveNone(t *testing.T) {
	each(t, func(t *testing.T, _ sdk, address string) {
		h := newHost(t, address)
		caller, itself := addressOf("teller", "t/1 ö"), addressOf("greeter", "other")
		from := func(a *wire.Address) input { return input{caller: a, argument: word("x").argument} }
		h.deliver("greeter", "a", from(&caller), from(nil), from(&itself))
		want := []string{"com.example/inbox/all <- a x 1", "com.example/teller/t/1 ö <- a x 1", "com.example/inbox/all <- a x 2", "com.example/inbox/all <- a x 3"}
		if got := sent(h); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

func TestEgressesTakeRecordsAndValues(t *testing.T) {
	each(t, func(t *testing.T, _ sdk, address string) {
		h := newHost(t, address)
		h.deliver("greeter", "a", word("record"))
		e := h.reply.Egresses
		if len(e) != 2 {
			t.Fatalf("%+v", e)
		}
		for i, typename := range []string{wire.KafkaRecordTypename, "type.googleapis.com/io.statefun.sdk.egress.KinesisEgressRecord"} {
			if string(e[i].Namespace) != "com.example" || string(e[i].Type) != "out" || string(e[i].Argument.Typename) != typename {
				t.Errorf("%s/%s %s", e[i].Namespace, e[i].Type, e[i].Argument.Typename)
			}
		}
		if r, err := wire.ReadKafkaRecord(e[0].Argument.Value); err != nil || string(r.Key) != "k" || string(r.Value) != "v" || string(r.Topic) != "greets" {
			t.Errorf("%+v, %v", r, err)
		}
		if got, want := string(e[1].Argument.Value), "\x0a\x01k\x12\x01v\x1a\x06greets"; got != want {
			t.Errorf("a Kinesis record is %q, want %q", got, want)
		}
		h.deliver("inbox", "all", word("a"))
		h.deliver("inbox", "all", word("b"))
		if e := h.reply.Egresses; len(e) != 1 || string(e[0].Argument.Typename) != stringType || string(e[0].Argument.Value) != text("2: b") {
			t.Errorf("%+v", e)
		}
	})
}

func TestEveryTypeComesBackAsItWent(t *testing.T) {
	// The bytes are those of the wrappers' one field.
	values := map[string][]string{
		"bool":   {"\x08\x01", ""},
		"int":    {"\x0d\x29\x00\x00\x00", "\x0d\xff\xff\xff\xff", ""},
		"long":   {"\x09\x00\x00\x00\x00\x00\x00\x00\x80", "\x09\x01\x00\x00\x00\x00\x00\x00\x00", ""},
		"float":  {"\x0d\x00\x00\xc0\x3f", ""},
		"double": {"\x09\x00\x00\x00\x00\x00\x00\xf8\x3f", ""},
		"string": {"\x0a\x06h\xc3\xb6he!", ""},
	}
	each(t, func(t *testing.T, s sdk, address string) {
		h := newHost(t, address)
		for _, kind := range s.types {
			for _, value := range values[kind] {
				in := wire.Typed{Typename: []byte(wire.PrimitivePrefix + kind), Value: []byte(value)}
				for range 2 { // the second time with the state that the first left
					h.deliver("types", "a", input{argument: in})
				}
				if len(h.reply.Mutations) != 1 || len(h.reply.Sends) != 1 {
					t.Fatalf("%s %q: %+v", kind, value, h.reply)
				}
				state, arg := h.reply.Mutations[0].Value, h.reply.Sends[0].Argument
				if state == nil || !same(*state, in) || !same(arg, in) {
					t.Errorf("%s %q: the state is %q, the message %q", kind, value, state, arg)
				}
			}
		}
		h.deliver("types", "a", input{argument: wire.Typed{Typename: []byte("com.example/User"), Value: []byte(`{"name":"ann"}`)}})
		arg := h.reply.Sends[0].Argument
		var got, want any
		_ = json.Unmarshal([]byte(`{"name":"ann"}`), &want)
		if err := json.Unmarshal(arg.Value, &got); err != nil || string(arg.Typename) != "com.example/User" || !reflect.DeepEqual(got, want) {
			t.Errorf("JSON came back as %s %q, %v", arg.Typename, arg.Value, err)
		}
	})
}

func same(a, b wire.Typed) bool {
	return bytes.Equal(a.Typename, b.Typename) && bytes.Equal(a.Value, b.Value) && a.Value != nil && b.Value != nil
}

// TestWhatAServerRefuses also holds the facts of the README's table.
func TestWhatAServerRefuses(t *testing.T) {
	each(t, func(t *testing.T, s sdk, address string) {
		h := newHost(t, address)
		h.deliver("greeter", "a", word("x"))
		const octets = "application/octet-stream"
		for what, request := range map[string][]byte{
			"a function that fails": h.build("greeter", "a", word("fail")), "an unknown type": h.build("nobody", "a", word("x")), "garbage": []byte("<html>"),
		} {
			// Which a host takes for something that may pass.
			if status, _, reply := post(t, address, octets, request); status != http.StatusInternalServerError {
				t.Errorf("%s: %d %q", what, status, reply)
			}
		}
		status, header, reply := post(t, address, octets, h.build("greeter", "a", word("x")))
		if status != http.StatusOK || header.Get("Content-Type") != s.contentType || !strings.Contains(string(reply), "a x 2") {
			t.Errorf("after failures: %d, %v, %q", status, header, reply)
		}

		refused := func(yes bool) int {
			if yes {
				return http.StatusInternalServerError
			}
			return http.StatusOK
		}
		number := input{argument: wire.Typed{Typename: []byte("io.statefun.types/int"), Value: []byte("\x0d\x01\x00\x00\x00")}}
		if status, _, reply := post(t, address, octets, h.build("greeter", "a", number)); status != refused(s.checksMessages) {
			t.Errorf("a message of another type: %d %q", status, reply)
		}
		none := input{argument: wire.Typed{Typename: []byte(stringType)}}
		if status, _, reply := post(t, address, octets, h.build("greeter", "a", none)); status != refused(s.needsValues) {
			t.Errorf("a message without a value: %d %q", status, reply)
		}
		if status, _, reply := post(t, address, "text/plain", h.build("greeter", "a", word("x"))); status != s.plainText {
			t.Errorf("a request of another content type: %d %q", status, reply)
		}
		h.states["greeter/a"] = map[string]wire.Typed{"seen": {Typename: []byte(stringType), Value: []byte(text("x"))}}
		if status, _, reply := post(t, address, octets, h.build("greeter", "a", word("x"))); status != refused(s.checksStates) {
			t.Errorf("a state of another type: %d %q", status, reply)
		}
	})
}
