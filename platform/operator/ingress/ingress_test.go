package ingress

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/operator/deadletter"
	"github.com/weirstream/weir/platform/operator/native"
	"github.com/weirstream/weir/platform/operator/operatortest"
)

type outputs struct {
	rows [2][]operatortest.Row
	drop bool
	last *batch.Origin
}

func (o *outputs) Emit(port int, b *batch.Batch) error {
	if !o.drop {
		o.rows[port] = append(o.rows[port], operatortest.RowsOf(b)...)
		if b.Origin != nil {
			copied := batch.Origin{Topic: b.Origin.Topic, Partition: b.Origin.Partition, Sequences: slices.Clone(b.Origin.Sequences), Rows: slices.Clone(b.Origin.Rows)}
			o.last = &copied
		}
	}
	b.Release()
	return nil
}

func (*outputs) Watermark(element.Watermark) error { return nil }

func open(t testing.TB, c Config) (*Operator, *outputs) {
	t.Helper()
	alive := batch.Live()
	t.Cleanup(func() {
		if n := batch.Live() - alive; n != 0 {
			t.Errorf("%d batches or buffers are still alive", n)
		}
	})
	config, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	out := &outputs{}
	o := New()
	if err := o.Open(&operator.Context{
		Identity: operator.Identity{Pipeline: "p", Operator: "ingress.t", LastGroup: 255}, Config: config,
		Inputs: []*schema.Schema{schema.Raw()}, Outputs: []*schema.Schema{functions.Message, deadletter.Schema},
		Output: out, Log: slog.New(slog.DiscardHandler), Meter: &operator.Meter{},
	}); err != nil {
		t.Fatal(err)
	}
	return o, out
}

// records makes a batch of pairs of key and value; nil is null.
func records(pairs ...any) *batch.Batch {
	b := batch.NewBuilder(schema.Raw())
	for i := 0; i < len(pairs); i += 2 {
		for col := range 2 {
			if v, ok := pairs[i+col].(string); ok {
				b.Column(col).AppendString(v)
			} else {
				b.Column(col).AppendNull()
			}
		}
		b.Column(2).AppendInt64(7)
		b.Column(3).AppendNull()
		b.EndRead(int64(100+i/2), uint64(10+i/2), int32(i/2))
	}
	return b.Finish("t", 3)
}

// message is a message from outside.
func message(time int64, to, id, typename string, value any) operatortest.Row {
	return operatortest.Of(time, to, id, nil, nil, typename, value)
}

func TestARecordGoesToTheAddressOfItsKeyAtEveryType(t *testing.T) {
	o, out := open(t, Config{To: []string{"com.example/a", "com.example/longer"}, Typename: functions.JSONTypename})
	if err := o.Process(0, records("k", `{"n":1}`, "ü/x", nil, "k", "")); err != nil {
		t.Fatal(err)
	}
	var want []operatortest.Row
	for _, to := range []string{"com.example/longer", "com.example/a"} {
		want = append(want, message(100, to, "k", "io.weir/json", `{"n":1}`), message(101, to, "ü/x", "io.weir/json", nil), message(102, to, "k", "io.weir/json", ""))
	}
	operatortest.Equal(t, "messages", out.rows[Messages], want)
	if out.last == nil || out.last.Topic != "t" || out.last.Partition != 3 || !slices.Equal(out.last.Sequences, []uint64{10, 11, 12}) {
		t.Errorf("the place of the records is lost: %+v", out.last)
	}
}

func TestAnIDComesFromAFieldOfTheRecord(t *testing.T) {
	o, out := open(t, Config{To: []string{"a/b"}, Field: "account.no", Typename: "x/y"})
	values := []string{`{"account":{"no":"a\"7"}}`, `{"x":1,"account":{"no":-12.50}}`, `{"account":{"no":true}}`}
	if err := o.Process(0, records(nil, values[0], "ignored", values[1], nil, values[2])); err != nil {
		t.Fatal(err)
	}
	operatortest.Equal(t, "messages", out.rows[Messages], []operatortest.Row{
		message(100, "a/b", `a"7`, "x/y", values[0]), message(101, "a/b", "-12.50", "x/y", values[1]), message(102, "a/b", "true", "x/y", values[2]),
	})
}

func TestARecordWithoutAnIDIsADeadLetterOrFailsTheJob(t *testing.T) {
	long := strings.Repeat("k", functions.MaxIDBytes+1)
	large := strings.Repeat("v", functions.MaxValueBytes+1)
	for _, c := range []struct {
		field      string
		key, value any
		reason     string
	}{
		{"", nil, "{}", "it has no key"},
		{"", "", "{}", "its id is empty"},
		{"", long, "{}", "its id has 1025 bytes, the limit is 1024"},
		{"", "\xff", "{}", "its id is not UTF-8"},
		{"", "k", large, "it has 1048577 bytes, the limit of a message is 1048576"},
		{"id", "k", `{"id":null}`, "it has no field id"},
		{"id", "k", `{"id":{"a":1}}`, "its field id is an object or a list"},
		{"id", "k", `{"id":""}`, "its id is empty"},
		{"id", "k", `{"id":"x"`, "its id cannot be read: not JSON"},
		{"id", "k", nil, "its id cannot be read"},
	} {
		cfg := Config{To: []string{"a/b"}, Field: c.field, Typename: "x/y", DeadLetters: true}
		o, out := open(t, cfg)
		good := `{"id":"good"}`
		if err := o.Process(0, records("good", good, c.key, c.value, "good", good)); err != nil {
			t.Fatal(err)
		}
		operatortest.Equal(t, c.reason, out.rows[Messages], []operatortest.Row{message(100, "a/b", "good", "x/y", good), message(102, "a/b", "good", "x/y", good)})
		letters := out.rows[DeadLetters]
		if len(letters) != 1 || !strings.HasPrefix(letters[0].Values[3].(string), c.reason) || letters[0].Values[7] != int64(11) || letters[0].Values[9] != c.key || letters[0].Values[10] != c.value {
			t.Errorf("%s: %.200s", c.reason, fmt.Sprint(letters))
		}

		cfg.DeadLetters = false
		o, out = open(t, cfg)
		err := o.Process(0, records("good", good, c.key, c.value))
		var fault *native.RowError
		if !errors.As(err, &fault) || !strings.Contains(err.Error(), "of t, partition 3, sequence 11, row 1 is no message: "+c.reason) {
			t.Errorf("%s: %v", c.reason, err)
		}
		if len(out.rows[Messages]) != 0 {
			t.Errorf("%s: a part of the batch was emitted", c.reason)
		}
	}
}

// The wanted bytes are those of StateFun's own messages: "alice" and 41 stand in
// calls that its Go SDK read; the others are written by hand after the encoding's
// description.
func TestWrappedValuesAreTheBytesOfStateFunsTypes(t *testing.T) {
	for _, c := range []struct{ typename, text, want string }{
		{"string", "alice", "0a05616c696365"},
		{"string", "", ""},
		{"string", strings.Repeat("x", 200), "0ac801" + strings.Repeat("78", 200)},
		{"int", "41", "0d29000000"},
		{"int", "-1", "0dffffffff"},
		{"int", "0", ""},
		{"long", "4294967296", "090000000001000000"},
		{"bool", "true", "0801"},
		{"bool", "false", ""},
		{"float", "1.5", "0d0000c03f"},
		{"float", "-0", "0d00000080"},
		{"double", "1.5", "09000000000000f83f"},
	} {
		o, out := open(t, Config{To: []string{"a/b"}, Typename: "io.statefun.types/" + c.typename, Wrap: true})
		if err := o.Process(0, records("k", c.text)); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString([]byte(out.rows[Messages][0].Values[functions.MessageValue].(string))); got != c.want {
			t.Errorf("%s %q: %s, want %s", c.typename, c.text, got, c.want)
		}
	}
	for typename, text := range map[string]string{"int": "2147483648", "long": "1.5", "bool": "yes", "float": "", "double": "x"} {
		o, _ := open(t, Config{To: []string{"a/b"}, Typename: "io.statefun.types/" + typename, Wrap: true})
		if err := o.Process(0, records("k", text)); err == nil || !strings.Contains(err.Error(), "it is not the text of a ") {
			t.Errorf("%s %q: %v", typename, text, err)
		}
	}
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	for text, c := range map[string]Config{
		"no type to send to":           {Typename: "x/y"},
		"want namespace/name":          {To: []string{"a"}, Typename: "x/y"},
		"is Weir's own":                {To: []string{"io.weir/call"}, Typename: "x/y"},
		"a name between its dots":      {To: []string{"a/b"}, Field: "a..b", Typename: "x/y"},
		"a type name of 0 bytes":       {To: []string{"a/b"}},
		"type name x/y has no wrapper": {To: []string{"a/b"}, Typename: "x/y", Wrap: true},
	} {
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestNothingIsAllocatedPerRecord(t *testing.T) {
	for name, c := range map[string]Config{
		"key":   {To: []string{"a/b", "c/d"}, Typename: "x/y"},
		"field": {To: []string{"a/b"}, Field: "a.id", Typename: "io.statefun.types/string", Wrap: true},
	} {
		o, out := open(t, c)
		out.drop = true
		var pairs []any
		for range 1000 {
			pairs = append(pairs, "key", `{"a":{"x":[1,2,3],"id":"a longer id \u00e9"},"b":"…"}`)
		}
		b := records(pairs...)
		run := func() {
			if err := o.Process(0, b.Retain()); err != nil {
				t.Fatal(err)
			}
		}
		run()
		if n := testing.AllocsPerRun(20, run); n > 20 {
			t.Errorf("%s: %.0f allocations for 1000 records", name, n)
		}
		b.Release()
	}
}
