// Package sdkbundle holds the SDKs within the binary, so that `weir init` needs
// no network. The archives are made from sdk/ by `go generate` and committed,
// because a package cannot embed files of another module. It must not know what
// is written with them.
package sdkbundle

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"fmt"
	"io/fs"
)

//go:generate go run ./generate ../../.. .

//go:embed go.zip
var goZip []byte

//go:embed c.zip
var cZip []byte

// Open gives the files of a language's SDK.
func Open(lang string) (fs.FS, error) {
	archives := map[string][]byte{"go": goZip, "c": cZip}
	data, ok := archives[lang]
	if !ok {
		return nil, fmt.Errorf("no SDK for language %q: have go, c", lang)
	}
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("open SDK for %s: %w", lang, err)
	}
	return r, nil
}
