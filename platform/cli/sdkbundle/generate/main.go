// Command generate writes the archives of the SDKs. It must not know anything
// but where the checkout is and where they go.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/weirstream/weir/platform/cli/sdkbundle/pack"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: generate ROOT OUT")
		os.Exit(2)
	}
	for _, lang := range pack.Languages {
		if err := generate(os.Args[1], os.Args[2], lang); err != nil {
			fmt.Fprintln(os.Stderr, "generate:", err)
			os.Exit(1)
		}
	}
}

func generate(root, out, lang string) error {
	files, err := pack.Files(root, lang)
	if err != nil {
		return err
	}
	data, err := pack.Zip(files)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, lang+".zip"), data, 0o644)
}
