package functions

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestACallsIDSaysWhereAndHowItsAnswerIsAwaited(t *testing.T) {
	for text, want := range map[string]CallID{
		"c/0a/ff01": {Committed, "0a", "ff01"}, "k/0a/1": {Keyed, "0a", "1"}, "n/0/1": {AtOnce, "0", "1"},
	} {
		got, err := ParseCallID(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if stored := text < StoredBelow; stored != (want.Way != AtOnce) {
			t.Errorf("%s: stored %t", text, stored)
		}
	}
	for _, text := range []string{"", "n", "n/0", "n//1", "n/0/", "x/0/1", "n/0/1/2", "n/*/1", "n/0./1", "nn/0/1", "n/A/1", "n/" + strings.Repeat("0", 65) + "/1"} {
		if _, err := ParseCallID(text); !errors.Is(err, ErrCallID) {
			t.Errorf("%.20s: %v", text, err)
		}
	}
}

func TestRepliesSurviveTheirRoundTrip(t *testing.T) {
	from := Address{"a/b", "7"}
	for _, r := range []Reply{
		{Call: "n/0/1", From: from, Typename: "x/y", Value: []byte("value")},
		{Call: "n/0/1", From: from, Typename: "x/y", Value: []byte{}},
		{Call: "n/0/1", From: from, Typename: "x/y"},
		{Call: "n/0/1", From: from, Typename: "x/y", TooLarge: 70000},
	} {
		got, err := ParseReply(r.Append(nil))
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%+v came back as %+v, %v", r, got, err)
		}
	}
	// Written by hand after the description of the form.
	const golden = "0101" + "056e2f302f31" + "03612f62" + "0137" + "03782f79" + "7b7d"
	r := Reply{Call: "n/0/1", From: from, Typename: "x/y", Value: []byte("{}")}
	if got := hex.EncodeToString(r.Append(nil)); got != golden {
		t.Errorf("%s, want %s", got, golden)
	}
}

func FuzzParseReply(f *testing.F) {
	f.Add((&Reply{Call: "n/0/1", Typename: "x/y", Value: []byte("v")}).Append(nil))
	f.Add((&Reply{Call: "n/0/1", Typename: "x/y", TooLarge: 3}).Append(nil))
	f.Add([]byte{1, 0, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseReply(b)
		if err != nil {
			return
		}
		again, err := ParseReply(r.Append(nil))
		if err != nil || again.Call != r.Call || again.From != r.From || again.TooLarge != r.TooLarge || !bytes.Equal(again.Value, r.Value) {
			t.Fatalf("%+v came back as %+v, %v", r, again, err)
		}
	})
}
