package wire

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// oracle is statefun.proto as protobuf's own implementation has it.
type oracle struct{ protoreflect.FileDescriptor }

func compile(t testing.TB) oracle {
	t.Helper()
	compiler := protocompile.Compiler{Resolver: &protocompile.SourceResolver{}}
	files, err := compiler.Compile(t.Context(), "statefun.proto")
	if err != nil {
		t.Fatal(err)
	}
	return oracle{files[0]}
}

func (o oracle) message(name protoreflect.Name) *dynamicpb.Message {
	return dynamicpb.NewMessage(o.Messages().ByName(name))
}

// fill gives a message random fields: texts and bytes that may be empty, lists
// that may be, and nothing where a field would be the zero value anyway.
func fill(r *rand.Rand, m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	chosen := -1
	if oneofs := m.Descriptor().Oneofs(); oneofs.Len() > 0 {
		chosen = r.IntN(oneofs.Get(0).Fields().Len() + 1)
	}
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.ContainingOneof() != nil && chosen != i, f.ContainingOneof() == nil && r.IntN(4) == 0:
		case f.IsList():
			list := m.Mutable(f).List()
			for range r.IntN(4) {
				fill(r, list.AppendMutable().Message())
			}
		case f.Kind() == protoreflect.MessageKind:
			fill(r, m.Mutable(f).Message())
		default:
			m.Set(f, scalar(r, f))
		}
	}
}

func scalar(r *rand.Rand, f protoreflect.FieldDescriptor) protoreflect.Value {
	text := []string{"", "a", "com.example", "höhe", string(bytes.Repeat([]byte("x"), 200))}[r.IntN(5)]
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(text))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(r.IntN(2) == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(r.IntN(f.Enum().Values().Len())))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(int64(r.Uint64() >> r.IntN(64)))
	}
	panic(f.Kind())
}

// get walks from field to field.
func get(m protoreflect.Message, path ...protoreflect.Name) protoreflect.Value {
	for _, name := range path[:len(path)-1] {
		m = m.Get(m.Descriptor().Fields().ByName(name)).Message()
	}
	return m.Get(m.Descriptor().Fields().ByName(path[len(path)-1]))
}

func has(m protoreflect.Message, name protoreflect.Name) bool {
	return m.Has(m.Descriptor().Fields().ByName(name))
}

// typed is a TypedValue in our form.
func typed(m protoreflect.Message) Typed {
	v := Typed{Typename: []byte(get(m, "typename").String())}
	if b := get(m, "value").Bytes(); len(b) > 0 || get(m, "has_value").Bool() {
		v.Value = append([]byte{}, b...)
	}
	return v
}

func address(m protoreflect.Message) Address {
	return Address{[]byte(get(m, "namespace").String()), []byte(get(m, "type").String()), []byte(get(m, "id").String())}
}

func (t Typed) equal(o Typed) bool {
	return bytes.Equal(t.Typename, o.Typename) && bytes.Equal(t.Value, o.Value) && (t.Value == nil) == (o.Value == nil)
}

func (a Address) equal(o Address) bool {
	return bytes.Equal(a.Namespace, o.Namespace) && bytes.Equal(a.Type, o.Type) && bytes.Equal(a.ID, o.ID)
}

func TestRequestsAreWrittenAsProtobufDoes(t *testing.T) {
	o, r := compile(t), rand.New(rand.NewPCG(1, 2))
	var ours Request
	for range 2000 {
		m := o.message("ToFunction")
		fill(r, m)
		if !has(m, "invocation") {
			continue
		}
		batch := get(m, "invocation").Message()
		set := func(m protoreflect.Message, name protoreflect.Name) protoreflect.Message { // what we always write
			return m.Mutable(m.Descriptor().Fields().ByName(name)).Message()
		}
		coherent := func(m protoreflect.Message) { // a value without has_value is not ours to write
			f := m.Descriptor().Fields().ByName("has_value")
			m.Set(f, protoreflect.ValueOfBool(get(m, "has_value").Bool() || len(get(m, "value").Bytes()) > 0))
		}
		ours.Begin(address(set(batch, "target")))
		for states, i := get(batch, "state").List(), 0; i < states.Len(); i++ {
			s := states.Get(i).Message()
			var value *Typed
			if has(s, "state_value") {
				coherent(set(s, "state_value"))
				v := typed(get(s, "state_value").Message())
				value = &v
			}
			ours.State(get(s, "state_name").String(), value)
		}
		for calls, i := get(batch, "invocations").List(), 0; i < calls.Len(); i++ {
			c := calls.Get(i).Message()
			var caller *Address
			if has(c, "caller") {
				a := address(get(c, "caller").Message())
				caller = &a
			}
			coherent(set(c, "argument"))
			ours.Invocation(caller, typed(get(c, "argument").Message()))
		}
		theirs := o.message("ToFunction")
		if err := proto.Unmarshal(ours.Bytes(), theirs); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(theirs, m) {
			t.Fatalf("have %v\nwant %v", theirs, m)
		}
	}
}

func TestRepliesAreReadAsProtobufDoes(t *testing.T) {
	o, r := compile(t), rand.New(rand.NewPCG(3, 4))
	var ours Reply
	read := 0
	for range 4000 {
		m := o.message("FromFunction")
		fill(r, m)
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if nameless(m) {
			if err := ours.Read(b); !errors.Is(err, ErrReply) {
				t.Fatalf("a state without a name: %v", err)
			}
			continue
		}
		// What a later version may have is passed over, wherever it stands.
		for i := range 2 {
			if err := ours.Read(b); err != nil {
				t.Fatalf("%v: %v", m, err)
			}
			same(t, &ours, m)
			if len(b) == 0 {
				break
			}
			if i == 0 {
				b = append(protowire.AppendVarint(protowire.AppendTag(nil, 90, protowire.VarintType), 7), b...)
			}
		}
		read++
	}
	if read < 1000 {
		t.Errorf("only %d replies were compared", read)
	}
}

func nameless(m protoreflect.Message) bool {
	missing := get(m, "incomplete_invocation_context", "missing_values").List()
	for i := range missing.Len() {
		if get(missing.Get(i).Message(), "state_name").String() == "" {
			return true
		}
	}
	return false
}

func same(t *testing.T, ours *Reply, m protoreflect.Message) {
	t.Helper()
	missing := get(m, "incomplete_invocation_context", "missing_values").List()
	result := get(m, "invocation_result").Message()
	list := func(name protoreflect.Name) protoreflect.List { return get(result, name).List() }
	mutations, messages, delayed, egresses := list("state_mutations"), list("outgoing_messages"), list("delayed_invocations"), list("outgoing_egresses")
	if ours.Incomplete != has(m, "incomplete_invocation_context") || len(ours.Missing) != missing.Len() || len(ours.Mutations) != mutations.Len() ||
		len(ours.Sends) != messages.Len()+delayed.Len() || len(ours.Egresses) != egresses.Len() {
		t.Fatalf("have %+v\nwant %v", ours, m)
	}
	for i, s := range ours.Missing {
		want := missing.Get(i).Message()
		if s != (Spec{
			Name: get(want, "state_name").String(), Typename: get(want, "type_typename").String(),
			Expiration: Expiration(get(want, "expiration_spec", "mode").Enum()), AfterMillis: get(want, "expiration_spec", "expire_after_millis").Int(),
		}) {
			t.Fatalf("have %+v\nwant %v", s, want)
		}
	}
	for i, x := range ours.Mutations {
		want := mutations.Get(i).Message()
		modify := get(want, "mutation_type").Enum() == 1
		if string(x.Name) != get(want, "state_name").String() || (x.Value != nil) != modify || modify && !x.Value.equal(typed(get(want, "state_value").Message())) {
			t.Fatalf("have %+v\nwant %v", x, want)
		}
	}
	for i, x := range ours.Sends {
		var want protoreflect.Message
		if i < messages.Len() {
			want = messages.Get(i).Message()
		} else {
			want = delayed.Get(i - messages.Len()).Message()
			if x.DelayMs != get(want, "delay_in_ms").Int() || x.Cancel != get(want, "is_cancellation_request").Bool() || string(x.Token) != get(want, "cancellation_token").String() {
				t.Fatalf("have %+v\nwant %v", x, want)
			}
		}
		if x.Delayed != (i >= messages.Len()) || !x.Target.equal(address(get(want, "target").Message())) || !x.Argument.equal(typed(get(want, "argument").Message())) {
			t.Fatalf("have %+v\nwant %v", x, want)
		}
	}
	for i, x := range ours.Egresses {
		want := egresses.Get(i).Message()
		if string(x.Namespace) != get(want, "egress_namespace").String() || string(x.Type) != get(want, "egress_type").String() || !x.Argument.equal(typed(get(want, "argument").Message())) {
			t.Fatalf("have %+v\nwant %v", x, want)
		}
	}
}

func TestRecordsAndPrimitivesAreReadAsProtobufDoes(t *testing.T) {
	o := compile(t)
	set := func(name protoreflect.Name, values map[protoreflect.Name]any) []byte {
		m := o.message(name)
		for field, v := range values {
			m.Set(m.Descriptor().Fields().ByName(field), protoreflect.ValueOf(v))
		}
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	record, err := ReadKafkaRecord(set("KafkaProducerRecord", map[protoreflect.Name]any{"key": "k", "value_bytes": []byte("v"), "topic": "t"}))
	if err != nil || string(record.Key) != "k" || string(record.Value) != "v" || string(record.Topic) != "t" {
		t.Errorf("%+v, %v", record, err)
	}
	for _, c := range []struct {
		message  protoreflect.Name
		typename string
		value    any
	}{
		{"BooleanWrapper", "bool", true}, {"BooleanWrapper", "bool", false}, {"IntWrapper", "int", int32(-7)}, {"IntWrapper", "int", int32(0)},
		{"LongWrapper", "long", int64(-1 << 62)}, {"DoubleWrapper", "double", 2.5}, {"StringWrapper", "string", "höhe"}, {"StringWrapper", "string", ""},
	} {
		got, ok := Plain(PrimitivePrefix+c.typename, set(c.message, map[protoreflect.Name]any{"value": c.value}))
		if !ok || got != c.value {
			t.Errorf("%s: %v, want %v", c.typename, got, c.value)
		}
	}
	if got, ok := Plain(PrimitivePrefix+"float", set("FloatWrapper", map[protoreflect.Name]any{"value": float32(-1.5)})); !ok || got != -1.5 {
		t.Errorf("float: %v", got)
	}
}

// FuzzReplyAgainstProtobuf holds that what protobuf refuses is refused, and what
// we read is what it reads.
func FuzzReplyAgainstProtobuf(f *testing.F) {
	o := compile(f)
	for _, text := range []string{goldenReply, goldenIncomplete, goldenRequest, "", "a20600", "aa0600", "a20600aa0600"} {
		f.Add(golden(f, text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var ours Reply
		if err := ours.Read(b); err != nil {
			return // we refuse more: kinds of changes and modes that nobody has said the meaning of
		}
		m := o.message("FromFunction")
		if err := proto.Unmarshal(b, m); err != nil {
			t.Fatalf("%x is read as %+v, and is no message: %v", b, ours, err)
		}
		if ours.Incomplete != has(m, "incomplete_invocation_context") {
			t.Fatalf("%x: %+v, want %v", b, ours, m)
		}
	})
}
