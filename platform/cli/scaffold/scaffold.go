// Package scaffold holds the projects that `weir init` begins with: a folder for
// each template, in it what all languages share and a folder for each language.
// It must not know how a project is built or run.
package scaffold

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"text/template"
)

//go:embed all:map all:keyed all:timer all:go all:c
var tree embed.FS

// Templates and languages there are, the first being the default.
var (
	Templates = []string{"keyed", "map", "timer"}
	Languages = []string{"go", "c"}
)

// SDKFolder is where a project keeps its copy of the SDK.
const SDKFolder = "weir-sdk"

// Project is what templates may ask for.
type Project struct {
	Name string // of the folder, the module and the .wasm file
	SDK  string // SDKFolder
}

// File is one file of a new project.
type File struct {
	Path string
	Data []byte
	Mode fs.FileMode
}

// Files gives the files of a new project, without the SDK.
func Files(kind, lang string, p Project) ([]File, error) {
	p.SDK = SDKFolder
	var files []File
	for _, dir := range []string{lang, path.Join(kind, "all"), path.Join(kind, lang)} {
		err := fs.WalkDir(tree, dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			f, err := render(dir, name, p)
			files = append(files, f)
			return err
		})
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("no template %q for language %q", kind, lang)
		}
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// render fills a file in; only names that end in .tmpl are templates, and lose that.
func render(dir, name string, p Project) (File, error) {
	data, err := fs.ReadFile(tree, name)
	if err != nil {
		return File{}, err
	}
	f := File{Path: strings.TrimPrefix(name, dir+"/"), Data: data, Mode: 0o644}
	if text, ok := strings.CutSuffix(f.Path, ".tmpl"); ok {
		t, err := template.New(name).Option("missingkey=error").Parse(string(data))
		if err != nil {
			return File{}, err
		}
		var out strings.Builder
		if err := t.Execute(&out, p); err != nil {
			return File{}, err
		}
		f.Path, f.Data = text, []byte(out.String())
	}
	if strings.HasSuffix(f.Path, ".sh") {
		f.Mode = 0o755
	}
	if base, ok := strings.CutPrefix(path.Base(f.Path), "dot-"); ok { // embed leaves names with a dot out of a folder
		f.Path = path.Join(path.Dir(f.Path), "."+base)
	}
	return f, nil
}
