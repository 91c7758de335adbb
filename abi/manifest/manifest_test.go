package manifest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/weirstream/weir/abi"
)

const flights = `{"abi":{"major":1,"minor":0}, "sdk":"go/0.1.0", "requires":["hosted_state"], "later":{"x":[1]},
 "functions":[{"name":"alert","doc":"...","future":1,
   "inputs":[{"name":"flights","columns":"departure:timestamp,origin:utf8,delay:int32","key":["origin"]}],
   "outputs":[{"name":"out","columns":"origin:utf8,count:int32"}],
   "state":[{"name":"late","kind":"value","form":"framed","codec":"row","value":"1:count:int32,2:last:timestamp?",
             "version":1,"ttl_ms":0,"ttl_on":"write","max_bytes":65536},
            {"name":"seen","kind":"map","form":"hosted","codec":"bytes","key":"utf8"}],
   "timers":[{"name":"quiet","kind":"event"},{"name":"poll","kind":"processing"}],
   "requires":[]}],
 "graph":{"a":1}}`

func TestTheManifestOfTheTextIsReadWithItsSignature(t *testing.T) {
	m, err := Parse([]byte(flights))
	if err != nil {
		t.Fatal(err)
	}
	f := m.Function("alert")
	s := f.Signature()
	if s.Key.String() != "origin:utf8" || s.Inputs[0].Len() != 3 || s.Outputs[0].String() != "origin:utf8,count:int32" ||
		!s.States[0].Framed || s.States[0].MaxBytes != 65536 || s.States[1].Framed ||
		s.Timers[0].Kind != abi.TimerEvent || s.Timers[1].Kind != abi.TimerProcessing || s.Changelog || s.Positions {
		t.Errorf("%+v", s)
	}
	if f.State[0].Row().Fields[1].Name != "last" || f.State[1].KeySchema().String() != "key:utf8" || f.State[1].TTLOn != OnWrite {
		t.Errorf("%+v", f.State)
	}
	text, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if second, _ := again.Marshal(); string(second) != string(text) {
		t.Errorf("%s\n%s", text, second)
	}
	if m.Function("none") != nil {
		t.Error("a function that is not there")
	}
}

func TestAModulesOwnRefusalIsItsError(t *testing.T) {
	_, err := Parse([]byte(`{"error":"missing parameter x"}`))
	var r *RefusalError
	if !errors.As(err, &r) || r.Reason != "missing parameter x" {
		t.Errorf("%v", err)
	}
}

func TestEveryMistakeIsRefusedByName(t *testing.T) {
	state := func(s string) [2]string {
		return [2]string{`{"name":"late","kind":"value","form":"framed","codec":"row","value":"1:count:int32,2:last:timestamp?",
             "version":1,"ttl_ms":0,"ttl_on":"write","max_bytes":65536}`, s}
	}
	for want, change := range map[string][2]string{
		"abi major 2":                          {`"major":1`, `"major":2`},
		"upgrade the host":                     {`"minor":0`, `"minor":1`},
		`requires "wings"`:                     {`"requires":["hosted_state"]`, `"requires":["hosted_state","wings"]`},
		`requires "messages", which is reserv`: {`"requires":["hosted_state"]`, `"requires":["hosted_state","messages"]`},
		"twice":                                {`"requires":["hosted_state"]`, `"requires":["hosted_state","hosted_state"]`},
		`state seen is hosted, but "hosted_st`: {`"requires":["hosted_state"]`, `"requires":[]`},
		`name "a b": only letters`:             {`"name":"alert"`, `"name":"a b"`},
		"want 1 to 63":                         {`"name":"alert"`, `"name":"` + strings.Repeat("x", 64) + `"`},
		"function alert: input flights: col":   {`delay:int32"`, `delay:int33"`},
		`key column "orgin" is not among`:      {`"key":["origin"]`, `"key":["orgin"]`},
		"stands twice":                         {`"key":["origin"]`, `"key":["origin","origin"]`},
		"state or timers without a key":        {`,"key":["origin"]`, ``},
		"output out: columns":                  {`"origin:utf8,count:int32"}`, `""}`},
		"timer quiet is declared twice":        {`"name":"poll"`, `"name":"quiet"`},
		"state late is declared twice":         {`"name":"seen"`, `"name":"late"`},
		`kind "idle"`:                          {`"kind":"processing"`, `"kind":"idle"`},
		`name "name" stands twice in one obje`: {`"name":"alert"`, `"name":"alert","name":"b"`},
		"a map state is hosted":                {`"form":"hosted"`, `"form":"framed"`},
		"state seen: key":                      {`"key":"utf8"`, `"key":"list<utf8>"`},
		"is nullable":                          {`"key":"utf8"`, `"key":"utf8?"`},
		`codec "xml"`:                          {`"codec":"bytes"`, `"codec":"xml"`},
		"no functions":                         {flights[strings.Index(flights, `"functions"`):], `"functions":[]}`},
		"max_bytes 1048577, the limit":         {`65536`, `1048577`},
		"want one field of a list type":        state(`{"name":"late","kind":"list","form":"framed","codec":"row","value":"1:v:int64"}`),
		"a value state is framed":              state(`{"name":"late","kind":"value","form":"hosted","codec":"bytes"}`),
		"only a map has keys":                  state(`{"name":"late","kind":"value","form":"framed","codec":"bytes","key":"utf8"}`),
		"only codec row has one":               state(`{"name":"late","kind":"value","form":"framed","codec":"json","value":"1:a:int8"}`),
		`kind "heap"`:                          state(`{"name":"late","kind":"heap","form":"framed","codec":"json"}`),
		`form ""`:                              state(`{"name":"late","kind":"value","codec":"json"}`),
		`ttl_on "never"`:                       state(`{"name":"late","kind":"value","form":"framed","codec":"json","ttl_on":"never"}`),
		"not negative":                         state(`{"name":"late","kind":"value","form":"framed","codec":"json","ttl_ms":-1}`),
		`"nested" is not among requires`:       {`delay:int32"`, `delay:list<int32>"`},
	} {
		text := strings.Replace(flights, change[0], change[1], 1)
		if text == flights {
			t.Fatalf("%s: nothing changed", want)
		}
		if _, err := Parse([]byte(text)); !errors.Is(err, ErrManifest) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, have %v", want, err)
		}
	}
}

func TestInputsHaveTheSameKeyTypesOrNone(t *testing.T) {
	two := func(b string) string {
		return `{"abi":{"major":1,"minor":0},"functions":[{"name":"f","inputs":[{"name":"a","columns":"k:utf8,n:int32","key":["k"]},` + b + `]}]}`
	}
	if _, err := Parse([]byte(two(`{"name":"b","columns":"x:int8,id:utf8","key":["id"]}`))); err != nil {
		t.Error(err)
	}
	for _, b := range []string{`{"name":"b","columns":"id:int64","key":["id"]}`, `{"name":"b","columns":"id:utf8?","key":["id"]}`, `{"name":"b","columns":"id:utf8"}`} {
		if _, err := Parse([]byte(two(b))); err == nil {
			t.Errorf("%s is accepted", b)
		}
	}
}

func TestListsEndAtTheirLimits(t *testing.T) {
	list := func(n int, entry string) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = fmt.Sprintf(entry, i)
		}
		return strings.Join(parts, ",")
	}
	text := func(functions, timers int) []byte {
		f := `{"name":"f%d","inputs":[{"name":"i","columns":"k:utf8","key":["k"]}],"timers":[` + strings.ReplaceAll(list(timers, `{"name":"t%d","kind":"event"}`), "%", "%%") + `]}`
		return []byte(`{"abi":{"major":1,"minor":0},"functions":[` + list(functions, f) + `]}`)
	}
	for _, c := range []struct {
		functions, timers int
		ok                bool
	}{{abi.MaxFunctions, 1, true}, {abi.MaxFunctions + 1, 1, false}, {1, abi.MaxTimers, true}, {1, abi.MaxTimers + 1, false}} {
		if _, err := Parse(text(c.functions, c.timers)); (err == nil) != c.ok {
			t.Errorf("%d functions, %d timers: %v", c.functions, c.timers, err)
		}
	}
	if _, err := Parse(append(text(1, 1), make([]byte, abi.MaxManifestBytes)...)); err == nil || !strings.Contains(err.Error(), "1048576") {
		t.Errorf("%v", err)
	}
	if _, err := Parse([]byte(`{"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`)); err == nil || !strings.Contains(err.Error(), "64 levels") {
		t.Errorf("%v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(flights))
	f.Add([]byte(`{"error":"no"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := Parse(text)
		if err != nil {
			return
		}
		canonical, err := m.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if len(canonical) > abi.MaxManifestBytes {
			return // escapes may be longer than what was read
		}
		if _, err := Parse(canonical); err != nil {
			t.Fatalf("%s: %v", canonical, err)
		}
	})
}
