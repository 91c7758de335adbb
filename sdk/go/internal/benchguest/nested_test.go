package main

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	weir "github.com/weirstream/weir/sdk/go"
	"github.com/weirstream/weir/sdk/go/weirtest"
)

func TestListsStructsAndMapsAreColumns(t *testing.T) {
	h := weirtest.New(t, "nest")
	h.Send("in",
		Trip{ID: 1, Stops: []Place{{"Bern", weir.Null[float64]{V: 46.9, Valid: true}}, {Name: "Zug"}}, Home: &Place{Name: "ulm"}, Tags: []string{"a", ""}, Costs: map[string]float64{"CHF": 2, "EUR": 1.5}},
		Trip{ID: 2, Tags: []string{}},
		Trip{ID: 3, Costs: map[string]float64{"EUR": 0}})
	want := []Trip{
		{ID: 1, Stops: []Place{{Name: "start"}, {"Bern", weir.Null[float64]{V: 46.9, Valid: true}}, {Name: "Zug"}}, Home: &Place{Name: "ULM"}, Tags: []string{"a", ""}, Costs: map[string]float64{"CHF": 4, "EUR": 3}},
		{ID: 2, Stops: []Place{{Name: "start"}}, Tags: []string{}, Costs: map[string]float64{}},
		{ID: 3, Stops: []Place{{Name: "start"}}, Costs: map[string]float64{"EUR": 0}},
	}
	if got := weirtest.Rows[Trip](h, "out"); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestNestedColumnsStandInGoldenFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"input.jsonl":    `{"id":1,"stops":[{"name":"Bern","lat":46.5}],"home":{"name":"ulm","lat":null},"tags":["a"],"costs":{"CHF":2,"EUR":1.5}}` + "\n",
		"expected.jsonl": `{"id":1,"stops":[{"name":"start"},{"name":"Bern","lat":46.5}],"home":{"name":"ULM"},"tags":["a"],"costs":{"EUR":3,"CHF":4}}` + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	weirtest.Golden(weirtest.New(t, "nest"), dir)
}
