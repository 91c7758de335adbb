package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/platform/cli/scaffold"
	"github.com/weirstream/weir/platform/cli/sdkbundle"
)

func (a *app) initCommand() *cobra.Command {
	lang, kind := scaffold.Languages[0], scaffold.Templates[0]
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Begin a project: a module with its pipeline, tests and a copy of the SDK",
		Long: `Begin a project in a new or empty folder: a module with one function, its pipeline,
tests with input and expected output, and a copy of the SDK. It builds and tests at
once; nothing is downloaded.

  --template map     a function without state: one row out for each row in
  --template keyed   keyed state: a count for each user
  --template timer   keyed state and an event-time timer: sessions of each user`,
		Example: `  weir init --lang go clicks
  weir init --lang c --template timer sessions`,
		Args: names("DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			if !slices.Contains(scaffold.Languages, lang) {
				return usageError(fmt.Errorf("unknown language %q", lang), "write --lang %s", strings.Join(scaffold.Languages, " or "))
			}
			if !slices.Contains(scaffold.Templates, kind) {
				return usageError(fmt.Errorf("unknown template %q", kind), "write --template %s", strings.Join(scaffold.Templates, ", "))
			}
			name, err := a.initProject(args[0], lang, kind)
			if err != nil {
				return err
			}
			a.confirm("created %s: template %s in %s\nnext:\n  cd %s\n  ./build.sh && weir test\n  weir dev", name, kind, lang, args[0])
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&lang, "lang", lang, strings.Join(scaffold.Languages, " or "))
	f.StringVar(&kind, "template", kind, strings.Join(scaffold.Templates, ", "))
	must(cmd.RegisterFlagCompletionFunc("lang", cobra.FixedCompletions(scaffold.Languages, cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("template", cobra.FixedCompletions(scaffold.Templates, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// notInNames is what a pipeline's name cannot have.
var notInNames = regexp.MustCompile(`[^a-z0-9_-]+`)

func (a *app) initProject(dir, lang, kind string) (name string, err error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	name = strings.Trim(notInNames.ReplaceAllString(strings.ToLower(filepath.Base(abs)), "-"), "-_")
	if name == "" {
		return "", usageError(fmt.Errorf("folder %q gives no name", dir), "take a name of letters and digits")
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		return "", fail(ExitConflict, fmt.Errorf("%s is not empty", dir), "name a new folder, or empty this one")
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	files, err := scaffold.Files(kind, lang, scaffold.Project{Name: name})
	if err != nil {
		return "", err
	}
	for _, f := range files {
		if err := writeFile(filepath.Join(dir, filepath.FromSlash(f.Path)), f.Data, f.Mode); err != nil {
			return "", err
		}
	}
	sdk, err := sdkbundle.Open(lang)
	if err != nil {
		return "", err
	}
	return name, copyTree(filepath.Join(dir, scaffold.SDKFolder), sdk)
}

func copyTree(to string, from fs.FS) error {
	return fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		return writeFile(filepath.Join(to, filepath.FromSlash(name)), data, 0o644)
	})
}

func writeFile(path string, data []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, mode)
}
