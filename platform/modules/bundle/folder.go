package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/weirstream/weir/abi/frame"
)

// FolderName is the folder beside a module whose files are its assets.
const FolderName = "assets"

// Beside reads the assets of a module file: what is in the folder assets beside
// it, none if there is no such folder.
func Beside(wasm string) ([]frame.Asset, error) {
	assets, err := Folder(filepath.Join(filepath.Dir(wasm), FolderName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return assets, err
}

// Folder reads all files of a folder and those below it, each under its path
// within the folder. Hidden files and folders are passed over.
func Folder(dir string) ([]frame.Asset, error) {
	var assets []frame.Asset
	total := int64(0)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path != dir && strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if total += info.Size(); total > MaxAssetsBytes || len(assets) == MaxAssets {
			return fmt.Errorf("%w: folder %s holds more than %d files or %d MiB, the limits", ErrLimit, dir, MaxAssets, MaxAssetsBytes>>20)
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if name = filepath.ToSlash(name); CheckName(name) != nil {
			return CheckName(name)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		assets = append(assets, frame.Asset{Name: name, Data: data})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read assets: %w", err)
	}
	return assets, nil
}
