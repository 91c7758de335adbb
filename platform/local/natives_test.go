package local

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Words are counted, the counts are counted, and the words are joined to their
// meanings: two exchanges of changelogs between two tasks each.
const counts = `
pipeline: counts
parallelism: 2
sources:
  words: {topic: words, format: json, columns: "word:utf8,n:int32?"}
  names: {topic: names, format: json, columns: "word:utf8,meaning:utf8"}
operators:
  some:
    kind: project
    input: words
    config: {columns: [word, {column: n, cast: "int64?"}], where: [{column: word, op: "!=", value: "no"}]}
  per_word:
    kind: aggregate
    input: some
    key: [word]
    config: {emit: changelog, aggregates: [{fn: count, as: times}, {fn: sum, column: n, as: total}]}
  per_count:
    kind: aggregate
    input: per_word
    key: [times]
    config: {emit: changelog, per: batch, aggregates: [{fn: count, as: words}, {fn: max, column: word, as: last}]}
  named:
    kind: join
    inputs: [per_word, names]
    key: [word]
  counts_out: {kind: project, input: per_count, config: {kind_column: op}}
  named_out: {kind: project, input: named, config: {kind_column: op}}
sinks:
  counts: {topic: counts, input: counts_out, format: json}
  named: {topic: named, input: named_out, format: json}
`

func TestNativeOperatorsPassChangelogsOnThroughExchanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(file, []byte(counts), 0o600); err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var words, names strings.Builder
	times, totals := map[string]int{}, map[string]int{}
	for range 2000 {
		word := []string{"a", "b", "c", "d", "e", "no"}[r.IntN(6)]
		n := r.IntN(10)
		fmt.Fprintf(&words, "{\"word\":%q,\"n\":%d}\n", word, n)
		if word != "no" {
			times[word]++
			totals[word] += n
		}
	}
	want := map[string][]string{}
	byCount := map[int][]string{}
	for _, word := range slices.Sorted(maps.Keys(times)) {
		byCount[times[word]] = append(byCount[times[word]], word)
		if word < "c" {
			fmt.Fprintf(&names, "{\"word\":%q,\"meaning\":\"the word %s\"}\n", word, word)
			want["named"] = append(want["named"], fmt.Sprintf("%s %d %d the word %s", word, times[word], totals[word], word))
		}
	}
	for n, list := range byCount {
		want["counts"] = append(want["counts"], fmt.Sprintf("%d %d %s", n, len(list), list[len(list)-1]))
	}
	held := map[string]map[string]int{"counts": {}, "named": {}}
	input := func(text string) Input {
		return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
	}
	err := Run(t.Context(), Options{
		Pipeline: file, Inputs: map[string]Input{"words": input(words.String()), "names": input(names.String())},
		Write: func(sink string, line []byte) error {
			var row struct {
				Word, Meaning, Last, Op string
				Times, Total, Words     int
			}
			if err := json.Unmarshal(line, &row); err != nil {
				return err
			}
			text := fmt.Sprintf("%s %d %d %s", row.Word, row.Times, row.Total, row.Meaning)
			if sink == "counts" {
				text = fmt.Sprintf("%d %d %s", row.Times, row.Words, row.Last)
			}
			switch row.Op {
			case "+I", "+U":
				held[sink][text]++
			case "-U", "-D":
				held[sink][text]--
			default:
				return fmt.Errorf("sink %s: no kind in %s", sink, line)
			}
			if n := held[sink][text]; n == 0 {
				delete(held[sink], text)
			} else if n < 0 {
				return fmt.Errorf("sink %s takes back what does not hold: %s", sink, line)
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for sink, lines := range want {
		slices.Sort(lines)
		if got := slices.Sorted(maps.Keys(held[sink])); !slices.Equal(got, lines) {
			t.Errorf("%s holds %q, want %q", sink, got, lines)
		}
	}
}
