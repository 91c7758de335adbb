// Package local runs a pipeline in this process over files, without a server:
// bounded runs and tests of pipelines. It has no checkpoints, because a run that
// fails is simply run again. It must not know the catalog, the log or the API.
package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/weirstream/weir/abi/manifest"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/modules"
	"github.com/weirstream/weir/platform/modules/bundle"
	"github.com/weirstream/weir/platform/planner"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/wasmhost"
)

// ProblemsError is a pipeline file that cannot be planned.
type ProblemsError struct {
	File     string
	Problems []pipelinefile.Problem
}

func (e *ProblemsError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = e.File + ": " + p.Error()
	}
	return strings.Join(lines, "\n")
}

// project is a pipeline file with its modules compiled.
type project struct {
	dir     string
	file    *pipelinefile.File
	host    *wasmhost.Host
	modules *modules.Store
	known   map[string]planner.Module
}

// open reads a pipeline file and the modules that it names by path. Modules
// says where others are, by name.
func open(ctx context.Context, path string, paths map[string]string) (*project, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read pipeline: %w", err)
	}
	f, problems := pipelinefile.Parse(text)
	if len(problems) > 0 {
		return nil, &ProblemsError{path, problems}
	}
	host, err := wasmhost.NewHost(ctx, wasmhost.Options{CacheDir: cacheDir()})
	if err != nil {
		return nil, err
	}
	p := &project{dir: filepath.Dir(path), file: f, host: host, modules: modules.New(host, memblob.New(memblob.Options{})), known: map[string]planner.Module{}}
	if err := p.load(ctx, paths); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// cacheDir keeps compiled modules from run to run; empty if there is no such place.
func cacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "weir", "wasm")
}

func (p *project) load(ctx context.Context, paths map[string]string) error {
	names := map[string]string{} // name -> path
	note := func(module string) {
		if strings.HasSuffix(module, ".wasm") {
			file := module
			if !filepath.IsAbs(file) {
				file = filepath.Join(p.dir, file)
			}
			names[planner.ModuleName(module)] = file
		}
	}
	note(p.file.Module.Value)
	for _, o := range p.file.Operators {
		note(o.Module.Value)
	}
	if f := p.file.Functions; f != nil {
		for _, m := range f.Modules {
			note(m.Value)
		}
	}
	for name, file := range paths {
		names[name] = file
	}
	for name, file := range names {
		wasm, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read module %s: %w; build it first", name, err)
		}
		assets, err := bundle.Beside(file)
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		pushed, err := p.modules.Push(ctx, wasm, assets...)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		p.known[name] = planner.Module{Name: name, Digest: pushed.Digest.String(), Manifest: pushed.Manifest}
	}
	return nil
}

func (p *project) close() error { return p.host.Close(context.Background()) }

// plan makes the job graph. Every topic that the file names is taken to exist.
func (p *project) plan(path string) (*planner.Plan, error) {
	plan, problems := planner.Make(p.file, p)
	if len(problems) > 0 {
		return nil, &ProblemsError{path, problems}
	}
	return plan, nil
}

// Module gives a module of the project.
func (p *project) Module(name string) (planner.Module, bool) {
	m, ok := p.known[name]
	return m, ok
}

// ModuleNames lists the project's modules.
func (p *project) ModuleNames() []string {
	var out []string
	for name := range p.known {
		out = append(out, name)
	}
	return out
}

// Topic stands for a file: every topic is there.
func (p *project) Topic(name string) (jetstream.Topic, bool) {
	return jetstream.Topic{Name: name}.Normalize(), true
}

// TopicNames is empty: there is nothing to choose among.
// HasSecret takes any name: sources and sinks, which use secrets, are replaced.
func (p *project) HasSecret(string) bool { return true }

func (p *project) TopicNames() []string { return nil }

// outputName is the name that the manifest gives to what a sink takes.
func (p *project) outputName(operator string, number int) (name string, main bool) {
	for _, o := range p.file.Operators {
		if o.Name.Value != operator || o.Function.Value == "" {
			continue
		}
		module := o.Module.Value
		if module == "" {
			module = p.file.Module.Value
		}
		m, ok := p.known[planner.ModuleName(module)]
		if !ok {
			break
		}
		if f := m.Manifest.Function(o.Function.Value); f != nil && number < len(f.Outputs) {
			return f.Outputs[number].Name, number == 0
		}
	}
	return "", number == 0
}

// inputOf names the function's input that a source feeds, where that is one.
func (p *project) inputOf(o *pipelinefile.Operator, f *manifest.Function, source string) string {
	for i, in := range o.Inputs {
		if in.From.Value != source {
			continue
		}
		if in.Name.Value != "" {
			return in.Name.Value
		}
		if i < len(f.Inputs) {
			return f.Inputs[i].Name
		}
	}
	return ""
}

// sourceNamed finds the source that an input of a run or a test means: by its
// name, by the name of the function's input that it feeds, or the only one.
func (p *project) sourceNamed(name string) (string, error) {
	if name == "" && len(p.file.Sources) == 1 {
		return p.file.Sources[0].Name.Value, nil
	}
	var names []string
	for _, s := range p.file.Sources {
		if s.Name.Value == name {
			return name, nil
		}
		names = append(names, s.Name.Value)
	}
	for i := range p.file.Operators {
		o := &p.file.Operators[i]
		module := o.Module.Value
		if module == "" {
			module = p.file.Module.Value
		}
		m, ok := p.known[planner.ModuleName(module)]
		if !ok || m.Manifest.Function(o.Function.Value) == nil {
			continue
		}
		for _, s := range names {
			if p.inputOf(o, m.Manifest.Function(o.Function.Value), s) == name {
				return s, nil
			}
		}
	}
	if name == "" {
		return "", fmt.Errorf("the pipeline has %d sources: say which one by NAME=FILE; there are %s", len(names), strings.Join(names, ", "))
	}
	return "", fmt.Errorf("the pipeline has no source %q; %s", name, pipelinefile.Suggest(name, names))
}

func quiet(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}
