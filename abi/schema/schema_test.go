package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

func vectors(t testing.TB, name string, into any) {
	t.Helper()
	b, err := os.ReadFile("../testdata/vectors/" + name + ".json")
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

type schemaVectors struct {
	Good []struct {
		Text, Fingerprint string
		Nodes             int
	}
	Bad []string
}

func TestSchemasOfTheVectorsHaveTheirTextFingerprintAndNodes(t *testing.T) {
	var v schemaVectors
	vectors(t, "schemas", &v)
	for _, g := range v.Good {
		s, err := Parse(g.Text)
		if err != nil {
			t.Errorf("%s: %v", g.Text, err)
			continue
		}
		if s.String() != g.Text || fmt.Sprintf("%016x", s.Fingerprint()) != g.Fingerprint || s.Nodes() != g.Nodes {
			t.Errorf("%s: have %s, %016x, %d nodes, want %s, %d", g.Text, s, s.Fingerprint(), s.Nodes(), g.Fingerprint, g.Nodes)
		}
		again, err := New(s.Fields...)
		if err != nil || !again.Equal(s) {
			t.Errorf("%s: New of its fields is %v, %v", g.Text, again, err)
		}
	}
	for _, text := range v.Bad {
		s, err := Parse(text)
		var at *Error
		if !errors.As(err, &at) {
			t.Errorf("%q is accepted as %v (%v)", text, s, err)
		}
	}
}

func TestAnErrorSaysWhereItIs(t *testing.T) {
	_, err := Parse("a:int32,b: int64")
	var at *Error
	if !errors.As(err, &at) || at.Offset != 10 || !strings.Contains(err.Error(), "blank") {
		t.Fatalf("have %v", err)
	}
	_, err = Parse("a:int32,b:strin")
	if !errors.As(err, &at) || at.Offset != 10 || !strings.Contains(err.Error(), `unknown type "strin"`) {
		t.Fatalf("have %v", err)
	}
}

func TestLimitsHoldExactly(t *testing.T) {
	fields := func(n int) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = fmt.Sprintf("f%d:bool", i)
		}
		return strings.Join(parts, ",")
	}
	levels := func(n int) string {
		return "a:" + strings.Repeat("list<", n-1) + "bool" + strings.Repeat(">", n-1)
	}
	for text, ok := range map[string]bool{
		fields(MaxFields): true, fields(MaxFields + 1): false,
		"s:struct<" + fields(MaxFields-1) + ">": true, "s:struct<" + fields(MaxFields) + ">": false,
		levels(MaxLevels): true, levels(MaxLevels + 1): false,
		strings.Repeat("n", MaxNameBytes) + ":bool": true, strings.Repeat("n", MaxNameBytes+1) + ":bool": false,
	} {
		if _, err := Parse(text); (err == nil) != ok {
			t.Errorf("%.40s (%d bytes): %v", text, len(text), err)
		}
	}
}

func TestASchemaIsNotChangedThroughWhatItWasMadeOf(t *testing.T) {
	elem := Of(Int64)
	list := Type{Kind: List, Elem: &elem}
	s := Must(New(Field{"l", list}))
	elem.Kind = Utf8
	if s.Fields[0].Type.Elem.Kind != Int64 || s.String() != "l:list<int64>" {
		t.Fatal(s.Fields[0].Type)
	}
}

func TestNewRefusesWhatParseRefuses(t *testing.T) {
	for _, fields := range [][]Field{
		nil, {{"", Of(Bool)}}, {{"a", Of(Bool)}, {"a", Of(Bool)}}, {{"a", Of(Invalid)}}, {{"a", Of(List)}}, {{"a", Of(Struct)}},
		{{"a", MapOf(Of(Utf8).Null(), Of(Bool))}}, {{"a", DecimalOf(0, 0)}}, {{"a", DecimalOf(3, 4)}}, {{"\xff", Of(Bool)}},
	} {
		if s, err := New(fields...); err == nil {
			t.Errorf("%v is accepted as %s", fields, s)
		}
	}
}

func FuzzParse(f *testing.F) {
	var v schemaVectors
	vectors(f, "schemas", &v)
	for _, g := range v.Good {
		f.Add(g.Text)
	}
	for _, text := range v.Bad {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		if s.String() != text {
			t.Fatalf("%q is accepted and written as %q", text, s)
		}
		if again := Must(New(s.Fields...)); !again.Equal(s) || again.Nodes() != s.Nodes() {
			t.Fatalf("%q comes back as %q", text, again)
		}
	})
}
