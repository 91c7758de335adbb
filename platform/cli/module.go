package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/weirstream/weir/abi/frame"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/modules/bundle"
)

// maxModuleBytes bounds a module; the server holds the same.
const maxModuleBytes = bundle.MaxModuleBytes

func (a *app) moduleCommand() *cobra.Command {
	return group("module", "Modules: uploaded WebAssembly",
		`A module is a WebAssembly file whose functions pipelines run. Every version is
kept under its digest.`,
		a.modulePush(), a.moduleList(), a.moduleInfo(), a.moduleDelete())
}

func (a *app) modulePush() *cobra.Command {
	var (
		name   string
		assets []string
		o      outputFormat
	)
	cmd := &cobra.Command{
		Use:   "push FILE.wasm",
		Short: "Upload a module",
		Long: `Upload a module. The server checks it, compiles it and asks it for its functions
before it stores it. The name is the file's without .wasm, unless --name says
otherwise. The same bytes twice change nothing.

--asset gives the module a file, or all files of a folder by their paths in it: a
script for an interpreter, a model. They are part of this version, under one
digest with the module, and its functions are given them when they are opened. At
most 64 files, 32 MiB together.`,
		Example: `  weir module push alert.wasm
  weir module push build/out.wasm --name alert
  weir module push interpreter.wasm --name script --asset main.js
  weir module push score.wasm --asset model.bin=build/model-7.bin
  weir module push site.wasm --asset assets/
  cat alert.wasm | weir module push - --name alert`,
		Args: names("FILE.wasm"),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			if name == "" {
				if args[0] == "-" {
					return usageError(errors.New("a module from standard input has no name"), "add --name NAME")
				}
				name = strings.TrimSuffix(filepath.Base(args[0]), ".wasm")
			}
			wasm, err := a.readFile(args[0], maxModuleBytes)
			if err != nil {
				return fmt.Errorf("read module: %w", err)
			}
			req := &weirv1.PushModuleRequest{Namespace: a.namespace, Name: name, Wasm: wasm}
			for _, path := range assets {
				some, err := a.readAsset(path)
				if err != nil {
					return err
				}
				req.Assets = append(req.Assets, some...)
			}
			p := a.startProgress(waiting(fmt.Sprintf("pushing %s (%s): upload, check, compile", name, size(uint64(len(wasm))))))
			r, err := c.modules.PushModule(cmd.Context(), connect.NewRequest(req))
			p.end()
			if err != nil {
				return fmt.Errorf("push module %q: %w", name, err)
			}
			for _, w := range r.Msg.GetWarnings() {
				fmt.Fprintf(a.env.Stderr, "%s %s\n", paint(a.colours(a.env.ErrTerminal)).yellow("warning:"), w)
			}
			if o == formatJSON {
				return printJSON(a.env.Stdout, r.Msg)
			}
			what := "pushed"
			if r.Msg.GetUnchanged() {
				what = "unchanged"
			}
			a.confirm("%s %s@%s, functions: %s", what, name, shortDigest(r.Msg.GetModule().GetDigest()), strings.Join(r.Msg.GetFunctions(), ", "))
			return nil
		}),
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the module (default: the file's)")
	cmd.Flags().StringArrayVar(&assets, "asset", nil, "[NAME=]FILE or folder given to the module at open; may be repeated")
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

// readAsset reads [NAME=]FILE, or all files of a folder.
func (a *app) readAsset(path string) ([]*weirv1.Asset, error) {
	name, file, named := strings.Cut(path, "=")
	if !named {
		name, file = filepath.Base(path), path
	}
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		if named {
			return nil, usageError(fmt.Errorf("--asset %s: a folder takes no name", path), "write --asset %s", file)
		}
		assets, err := bundle.Folder(file)
		return assetMessages(assets), err
	}
	data, err := a.readFile(file, bundle.MaxAssetsBytes)
	if err != nil {
		return nil, fmt.Errorf("read asset: %w", err)
	}
	return assetMessages([]frame.Asset{{Name: name, Data: data}}), nil
}

func assetMessages(assets []frame.Asset) []*weirv1.Asset {
	var out []*weirv1.Asset
	for _, a := range assets {
		out = append(out, &weirv1.Asset{Name: a.Name, Data: a.Data})
	}
	return out
}

// readFile reads a file whole, or standard input for -, up to a limit.
func (a *app) readFile(path string, limit int64) ([]byte, error) {
	in := a.env.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if int64(len(data)) > limit {
		return nil, fail(ExitRefused, fmt.Errorf("%s is larger than %s", path, size(uint64(limit))), "make it smaller, for a module: strip debug information")
	}
	return data, nil
}

func (a *app) moduleList() *cobra.Command {
	var o outputFormat
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List modules",
		Long:    "List the modules of the namespace, each with the digest of its latest version.",
		Example: "  weir module list\n  weir module list -o json",
		Args:    names(),
		RunE: a.call(func(cmd *cobra.Command, c *clients, _ []string) error {
			r, err := c.modules.ListModules(cmd.Context(), connect.NewRequest(&weirv1.ListModulesRequest{Namespace: a.namespace}))
			if err != nil {
				return fmt.Errorf("list modules: %w", err)
			}
			if o == formatJSON {
				return printJSONList(a.env.Stdout, r.Msg.GetModules())
			}
			if len(r.Msg.GetModules()) == 0 {
				a.confirm("no modules in namespace %s; upload one with: weir module push FILE.wasm", a.namespace)
				return nil
			}
			t := newTable("NAME", "DIGEST", ">SIZE", ">VERSIONS", "PUSHED")
			for _, m := range r.Msg.GetModules() {
				t.row(m.GetName(), shortDigest(m.GetDigest()), size(m.GetSizeBytes()), fmt.Sprint(len(m.GetVersions())), moment(m.GetPushed()))
			}
			return t.print(a.env.Stdout, a.out())
		}),
	}
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

func (a *app) moduleInfo() *cobra.Command {
	var o outputFormat
	cmd := &cobra.Command{
		Use: "info NAME", Short: "Show a module's functions, state, schemas and capabilities",
		Long: `Show what a module says of itself: its functions with their inputs, outputs,
state and timers, and the capabilities it needs. NAME@sha256:HEX shows an older
version. With -o json the manifest stands under "manifest".`,
		Example:           "  weir module info alert\n  weir module info alert -o json | jq .manifest.functions",
		Args:              names("NAME"),
		ValidArgsFunction: a.completeName(moduleNames),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			r, err := c.modules.GetModule(cmd.Context(), connect.NewRequest(&weirv1.GetModuleRequest{Namespace: a.namespace, Name: args[0]}))
			if err != nil {
				return fmt.Errorf("get module %q: %w", args[0], err)
			}
			if o == formatJSON {
				return a.moduleJSON(r.Msg)
			}
			return a.moduleText(r.Msg)
		}),
	}
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

// moduleJSON puts the manifest in as JSON, not as text within JSON.
func (a *app) moduleJSON(m *weirv1.GetModuleResponse) error {
	manifest := json.RawMessage(m.GetManifestJson())
	if !json.Valid(manifest) {
		manifest = json.RawMessage("null")
	}
	b := append([]byte(`{"module":`), appendMessage(nil, m.GetModule().ProtoReflect())...)
	b = append(append(b, `,"used_by":[`...), jsonTexts(m.GetUsedBy())...)
	b = append(b, `],"assets":[`...)
	for i, asset := range m.GetAssets() {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendMessage(b, asset.ProtoReflect())
	}
	b = append(append(b, `],"manifest":`...), manifest...)
	return indent(a.env.Stdout, append(b, '}'))
}

func jsonTexts(list []string) []byte {
	var b []byte
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, s)
	}
	return b
}

// shown is the part of a manifest that people look at.
type shown struct {
	SDK       string   `json:"sdk"`
	Requires  []string `json:"requires"`
	Functions []struct {
		Name   string `json:"name"`
		Doc    string `json:"doc"`
		Inputs []struct {
			Name    string   `json:"name"`
			Columns string   `json:"columns"`
			Key     []string `json:"key"`
		} `json:"inputs"`
		Outputs []struct {
			Name    string `json:"name"`
			Columns string `json:"columns"`
		} `json:"outputs"`
		State []struct {
			Name  string `json:"name"`
			Kind  string `json:"kind"`
			Form  string `json:"form"`
			Codec string `json:"codec"`
			Value string `json:"value"`
			TTLMs int64  `json:"ttl_ms"`
		} `json:"state"`
		Timers []struct {
			Name string `json:"name"`
			Kind string `json:"kind"`
		} `json:"timers"`
		Requires []string `json:"requires"`
	} `json:"functions"`
}

func (a *app) moduleText(m *weirv1.GetModuleResponse) error {
	p, w := a.out(), a.env.Stdout
	var s shown
	if err := json.Unmarshal([]byte(m.GetManifestJson()), &s); err != nil {
		return fail(ExitFailure, fmt.Errorf("read manifest of module %q: %w", m.GetModule().GetName(), err), "client and server differ; compare them with: weir version")
	}
	mod := m.GetModule()
	if err := pairs(w, p,
		"name", mod.GetName(),
		"digest", mod.GetDigest(),
		"size", size(mod.GetSizeBytes()),
		"pushed", moment(mod.GetPushed()),
		"sdk", s.SDK,
		"requires", strings.Join(s.Requires, ", "),
		"assets", assetList(m.GetAssets()),
		"used by", strings.Join(m.GetUsedBy(), ", "),
	); err != nil {
		return err
	}
	for _, f := range s.Functions {
		fmt.Fprintf(w, "\nfunction %s\n", p.bold(f.Name))
		if f.Doc != "" {
			fmt.Fprintf(w, "  %s\n", f.Doc)
		}
		for _, in := range f.Inputs {
			key := ""
			if len(in.Key) > 0 {
				key = "  by " + strings.Join(in.Key, ", ")
			}
			fmt.Fprintf(w, "  input   %s(%s)%s\n", in.Name, in.Columns, key)
		}
		for _, out := range f.Outputs {
			fmt.Fprintf(w, "  output  %s(%s)\n", out.Name, out.Columns)
		}
		for _, st := range f.State {
			fmt.Fprintf(w, "  state   %s: %s, %s, %s %s%s\n", st.Name, st.Kind, st.Form, st.Codec, st.Value, ttl(st.TTLMs))
		}
		for _, tm := range f.Timers {
			fmt.Fprintf(w, "  timer   %s: %s time\n", tm.Name, tm.Kind)
		}
		if len(f.Requires) > 0 {
			fmt.Fprintf(w, "  needs   %s\n", strings.Join(f.Requires, ", "))
		}
	}
	return nil
}

func assetList(assets []*weirv1.AssetInfo) string {
	var list []string
	for _, a := range assets {
		list = append(list, fmt.Sprintf("%s (%s)", a.GetName(), size(a.GetSizeBytes())))
	}
	return strings.Join(list, ", ")
}

func (a *app) moduleDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Aliases: []string{"rm"}, Short: "Delete a module",
		Long:              "Delete a module with all its versions. One that a pipeline uses is refused.",
		Example:           "  weir module delete alert",
		Args:              names("NAME"),
		ValidArgsFunction: a.completeName(moduleNames),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			if _, err := c.modules.DeleteModule(cmd.Context(), connect.NewRequest(&weirv1.DeleteModuleRequest{Namespace: a.namespace, Name: args[0]})); err != nil {
				return fmt.Errorf("delete module %q: %w", args[0], err)
			}
			a.confirm("deleted module %s", args[0])
			return nil
		}),
	}
}
