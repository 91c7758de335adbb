package main

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/weirstream/weir/abi"
)

func TestTheConstantsInTheSDKsAreThoseOfTheContract(t *testing.T) {
	for lang, path := range map[string]string{"go": "../../sdk/go/internal/abi/abi_gen.go", "c": "../../sdk/c/weir.h"} {
		have, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // an SDK may be taken out of the tree
		}
		if err != nil {
			t.Fatal(err)
		}
		want, err := render(lang, have)
		if err != nil {
			t.Fatal(err)
		}
		if string(have) != string(want) {
			t.Errorf("%s is not up to date: go run ./abi/abigen -lang %s -out %s", path, lang, path[len("../../"):])
		}
	}
}

func TestListsWithOneLimitInTheSDKsHaveOneLimitInTheContract(t *testing.T) {
	for what, limit := range map[string]int{"outputs": abi.MaxOutputs, "states": abi.MaxStates, "timers": abi.MaxTimers} {
		if limit != abi.MaxInputs {
			t.Errorf("%s: %d, but MaxPerFunction stands for them and for inputs, %d", what, limit, abi.MaxInputs)
		}
	}
}

func TestACHeaderWithoutMarksIsRefused(t *testing.T) {
	if _, err := render("c", []byte("int x;\n")); err == nil {
		t.Fatal("accepted")
	}
}
