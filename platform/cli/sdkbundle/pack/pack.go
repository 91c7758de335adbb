// Package pack chooses the files of each SDK that a project needs, and makes
// archives of them. It must not know where archives are kept.
package pack

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Languages are those that `weir init` knows.
var Languages = []string{"go", "c"}

// epoch is the time of every file, so that equal files make equal archives.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Files reads a language's SDK from a checkout, by slash-separated path.
func Files(root, lang string) (map[string][]byte, error) {
	dir := filepath.Join(root, "sdk", lang)
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() && leftOut[lang+"/"+rel] {
			return fs.SkipDir
		}
		if d.IsDir() || !wanted(lang, rel) {
			return nil
		}
		files[rel], err = os.ReadFile(name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read SDK for %s: %w", lang, err)
	}
	if files["LICENSE"], err = os.ReadFile(filepath.Join(root, "LICENSE")); err != nil {
		return nil, fmt.Errorf("read license: %w", err)
	}
	return files, nil
}

// leftOut are folders for those who work on the SDK itself.
var leftOut = map[string]bool{
	"go/internal/benchguest": true,
	"c/bench":                true,
	"c/test":                 true,
}

func wanted(lang, rel string) bool {
	if strings.HasSuffix(rel, "_test.go") || strings.Contains(rel, "testdata/") {
		return false
	}
	switch path.Ext(rel) {
	case ".go", ".mod":
		return lang == "go"
	case ".h", ".sh":
		return lang == "c"
	}
	return rel == "README.md"
}

// Zip makes an archive.
func Zip(files map[string][]byte) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	w.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: epoch}
		f, err := w.CreateHeader(h)
		if err != nil {
			return nil, err
		}
		if _, err := f.Write(files[name]); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
