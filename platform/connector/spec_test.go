package connector

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

var spec = Spec{Kind: "thing", Doc: "A thing.", Fields: []Field{
	{Name: "topic", Type: Text, Doc: "Where.", Required: true},
	{Name: "format", Type: Text, Doc: "How.", Default: "json", Choices: []string{"json", "csv"}},
	{Name: "bounded", Type: Flag, Doc: "Ends."},
	{Name: "limit", Type: Number, Doc: "How many.", Default: "7"},
	{Name: "wait", Type: Duration, Doc: "How long.", Default: "2s"},
}}

func TestOptionsAreReadWithDefaults(t *testing.T) {
	v, err := spec.Read(json.RawMessage(`{"topic":"t","bounded":true,"wait":"1m"}`))
	if err != nil {
		t.Fatal(err)
	}
	if v.Text("topic") != "t" || v.Text("format") != "json" || !v.Flag("bounded") || v.Number("limit") != 7 || v.Duration("wait") != time.Minute {
		t.Errorf("%+v", v)
	}
}

func TestEveryMistakeInOptionsIsReportedWithAWayOut(t *testing.T) {
	for options, want := range map[string][]string{
		`{}`:                                    {`"topic": it is required: Where.`},
		`{"topic":1}`:                           {"1 is no text"},
		`{"topic":"t","format":"jsno"}`:         {`"jsno" is not one of json, csv: did you mean "json"?`},
		`{"topic":"t","formta":"csv"}`:          {`there is no such option: did you mean "format"?`},
		`{"topic":"t","colour":1}`:              {"there are topic, format, bounded, limit, wait"},
		`{"topic":"t","bounded":"yes"}`:         {"neither true nor false"},
		`{"topic":"t","limit":1.5}`:             {"no whole number"},
		`{"topic":"t","limit":-1}`:              {"no whole number"},
		`{"topic":"t","wait":10}`:               {`write it as "10s"`},
		`{"topic":"t","wait":"ten"}`:            {`write it as "10s"`},
		`[]`:                                    {"no object"},
		`{"topik":"t","wait":"x","bounded":[]}`: {"topik", "wait", "bounded", `"topic": it is required`},
	} {
		_, err := spec.Read(json.RawMessage(options))
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %q", options, err, w)
			}
		}
	}
}

func TestTheNearestNameIsFoundWithinTwoTypos(t *testing.T) {
	names := []string{"topic", "format", "start"}
	for name, want := range map[string]string{"topci": "topic", "fromat": "format", "strt": "start", "Topic": "topic", "xyz": "", "": ""} {
		if got := Nearest(name, names); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestHelpNamesEveryOption(t *testing.T) {
	help := spec.Help()
	for _, want := range []string{"topic (text, required): Where.", "format (text, default json): How. One of json, csv.", "wait (duration, default 2s)"} {
		if !strings.Contains(help, want) {
			t.Errorf("%q is not in\n%s", want, help)
		}
	}
}
