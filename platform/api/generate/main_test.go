package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The committed code is what clients and servers compile against, so it has to
// be what the .proto files say, with nothing left over from a removed one.
func TestGeneratedCodeIsUpToDate(t *testing.T) {
	const root = ".."
	files, err := generate(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			t.Errorf("%v; run: go generate ./platform/api/generate", err)
			continue
		}
		if string(got) != want {
			t.Errorf("%s differs from what its .proto file gives; run: go generate ./platform/api/generate", name)
		}
	}
	for _, pattern := range []string{"*/*/*.go", "*/*/*/*.go", "*/*/*/*/*.go"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			rel, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := files[filepath.ToSlash(rel)]; !ok && (strings.HasSuffix(path, ".pb.go") || strings.HasSuffix(path, ".connect.go")) {
				t.Errorf("%s comes from no .proto file; delete it", rel)
			}
		}
	}
}

func TestAProtoFileWithAnErrorIsNamedWithItsPosition(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "bad.proto"), []byte("syntax = \"proto3\";\nmessage M { strin a = 1; }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := generate(t.Context(), root)
	if err == nil || !strings.Contains(err.Error(), "bad.proto:2:") {
		t.Fatalf("got error %v, want one that names bad.proto:2", err)
	}
}
