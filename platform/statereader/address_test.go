package statereader

import (
	"testing"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/operator/parked"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// What is kept for an address stands where the operators of functions put it: under
// the hash of its id, with the address as its key.
func TestStateOfAddressesIsFoundByTypeAndID(t *testing.T) {
	message := functions.Message.String()
	g := &jobgraph.Graph{Stages: []jobgraph.Stage{{Name: "functions", Parallelism: 1, Operators: []jobgraph.Operator{
		{ID: "functions.parked", Kind: parked.Kind, Inputs: []string{message}, Key: [][]string{{"id"}}, State: parked.States()},
	}}}}
	s, err := (&Service{}).shapesOf(t.Context(), g, &target{operator: "functions.parked"})
	if err != nil || s.key.String() != "type:utf8,id:utf8" || !s.address {
		t.Fatal(s, err)
	}
	keyer, err := functions.NewKeyer(functions.Message, "type", "id")
	if err != nil {
		t.Fatal(err)
	}
	b := batch.NewBuilder(functions.Message)
	ids := []string{"7", "a,b", "ü/ /x", ""}
	for _, id := range ids {
		for col, v := range []string{"com.example/cart", id, "", "", "x/y", ""} {
			if v == "" && col != functions.MessageID {
				b.Column(col).AppendNull()
			} else {
				b.Column(col).AppendString(v)
			}
		}
		b.EndRow(0)
	}
	rows := b.Finish("", 0)
	defer rows.Release()
	if err := keyer.Encode(rows); err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		key, err := parseKey(s.key, `["com.example/cart","`+id+`"]`)
		if err != nil || string(key) != string(keyer.Bytes[keyer.Offsets[i]:keyer.Offsets[i+1]]) {
			t.Errorf("%q: key %x, %v", id, key, err)
		}
		if hash, err := functions.HashOfKey(key); err != nil || hash != keyer.Hashes[i] {
			t.Errorf("%q: hash %x, %v, want %x", id, hash, err, keyer.Hashes[i])
		}
	}
}
