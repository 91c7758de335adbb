// Command abigen writes the contract's constants into the SDKs, which import nothing of ours, from the table in this
// package.
//
//	go run ./abi/abigen -lang go -out sdk/go/internal/abi/abi_gen.go
//	go run ./abi/abigen -lang c -out sdk/c/weir.h
//
// A Go file is written whole; in a C header the part between the lines `weir:constants begin` and `weir:constants end` is
// replaced. With -check nothing is written and a difference is an error. It must not know what the constants are for.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
)

func main() {
	lang := flag.String("lang", "", "go or c")
	out := flag.String("out", "", "the file to write")
	check := flag.Bool("check", false, "write nothing, end with 1 if the file is not up to date")
	flag.Parse()
	if err := run(*lang, *out, *check); err != nil {
		fmt.Fprintln(os.Stderr, "abigen:", err)
		os.Exit(1)
	}
}

func run(lang, out string, check bool) error {
	if out == "" {
		return errors.New("no -out FILE: name the file to write")
	}
	have, err := os.ReadFile(out)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read %s: %w", out, err)
	}
	want, err := render(lang, have)
	if err != nil {
		return fmt.Errorf("render %s: %w", out, err)
	}
	if bytes.Equal(have, want) {
		return nil
	}
	if check {
		return fmt.Errorf("%s is not up to date: go run ./abi/abigen -lang %s -out %s", out, lang, out)
	}
	if err := os.WriteFile(out, want, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", out, err)
	}
	return nil
}
