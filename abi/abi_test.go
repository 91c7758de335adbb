package abi_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/weirstream/weir/abi"
)

func TestMagicsSpellTheirNames(t *testing.T) {
	for want, magic := range map[string]uint32{"WRC1": abi.MagicContainer, "WEIR": abi.MagicStored} {
		if got := string(binary.LittleEndian.AppendUint32(nil, magic)); got != want {
			t.Errorf("have %q, want %q", got, want)
		}
	}
}

// The rows of the tables in README.md begin with an id and a name; each must be the constant of that name.
func TestSectionIdsAreThoseOfTheText(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for id, name := range map[int]string{
		abi.CallSectionCall: "call", abi.CallSectionRows: "rows", abi.CallSectionCauses: "causes", abi.CallSectionSlots: "slots",
		abi.CallSectionTimes: "times", abi.CallSectionKeys: "keys", abi.CallSectionState: "state", abi.CallSectionMeta: "meta", abi.CallSectionKinds: "kinds",
	} {
		requireRow(t, section(text, "## 10. A call", "Sections of an effects"), id, name)
	}
	for id, name := range map[int]string{
		abi.EffectsSectionResult: "result", abi.EffectsSectionText: "text", abi.EffectsSectionOutput: "output", abi.EffectsSectionCauses: "output causes",
		abi.EffectsSectionTimes: "output times", abi.EffectsSectionKinds: "output kinds", abi.EffectsSectionWrites: "state writes", abi.EffectsSectionChanges: "timers",
	} {
		requireRow(t, section(text, "Sections of an effects", "## 11."), id, name)
	}
	for id, name := range map[int]string{
		abi.StoredSectionSchema: "schema", abi.StoredSectionRows: "rows", abi.StoredSectionTimes: "times", abi.StoredSectionKinds: "kinds",
	} {
		requireRow(t, section(text, "## 6.", "## 7."), id, name)
	}
	for _, name := range []string{
		abi.ExportVersion, abi.ExportAlloc, abi.ExportDescribe, abi.ExportOpen, abi.ExportCall, abi.ImportLog, abi.ImportMetric, abi.ImportStateGet,
		abi.ImportStatePut, abi.ImportStateDelete, abi.ImportStateAppend, abi.ImportStateClear, abi.ImportStateScan, abi.ImportYield,
	} {
		if !strings.Contains(text, "| `"+name+"` | (") {
			t.Errorf("the text has no row for %s", name)
		}
	}
}

func section(text, from, to string) string {
	_, rest, _ := strings.Cut(text, from)
	body, _, _ := strings.Cut(rest, to)
	return body
}

func requireRow(t *testing.T, body string, id int, name string) {
	t.Helper()
	if row := fmt.Sprintf("\n| %d | %s", id, name); !strings.Contains(body, row) {
		t.Errorf("the text has no row %q", row)
	}
}
