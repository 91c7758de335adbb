package guest

import (
	"errors"
	"slices"
	"strconv"

	"github.com/weirstream/weir/sdk/go/internal/abi"
	"github.com/weirstream/weir/sdk/go/internal/wire"
)

// Version is the SDK's, as the manifest has it.
const Version = "go/0.1.0"

// Module is what a program declares.
type Module struct {
	Functions []*Function
	Graph     Graph
}

// Graph is a dataflow that the module declares.
type Graph interface {
	// AppendJSON writes it in the fields of a pipeline file.
	AppendJSON(j *JSON) error
}

// Default is the module of the running program.
var Default Module

// Function finds one by name.
func (m *Module) Function(name string) *Function {
	for _, f := range m.Functions {
		if f.Name == name {
			return f
		}
	}
	return nil
}

func (m *Module) names() []string {
	names := make([]string, len(m.Functions))
	for i, f := range m.Functions {
		names[i] = f.Name
	}
	return names
}

// Check reports errors of all declarations.
func (m *Module) Check() error {
	var errs []error
	if len(m.Functions) == 0 {
		errs = append(errs, errors.New("the module declares no function: use weir.Map, weir.Process or weir.Keyed in a package variable"))
	}
	if len(m.Functions) > abi.MaxFunctions {
		errs = append(errs, errors.New(strconv.Itoa(len(m.Functions))+" functions; the limit is "+strconv.Itoa(abi.MaxFunctions)+": split the module"))
	}
	for i, f := range m.Functions {
		if slices.ContainsFunc(m.Functions[:i], func(g *Function) bool { return g.Name == f.Name }) {
			errs = append(errs, errors.New("two functions are named "+quote(f.Name)))
		}
		if err := f.check(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Describe answers weir_describe.
func (m *Module) Describe(data []byte) []byte {
	var frame wire.Container
	err := frame.Parse(data, abi.KindDescribe, knownDescribe, "guest")
	if err == nil {
		err = m.Check()
	}
	var j JSON
	if err == nil {
		err = m.manifest(&j)
	}
	if err == nil && len(j.Bytes) > abi.MaxManifestBytes {
		err = errors.New("the manifest has " + strconv.Itoa(len(j.Bytes)) + " bytes; the limit is " + strconv.Itoa(abi.MaxManifestBytes) + ": split the module")
	}
	if err != nil {
		j = JSON{}
		j.Open('{')
		j.Key("error")
		j.String(err.Error())
		j.Close('}')
	}
	return j.Bytes
}

func (m *Module) manifest(j *JSON) error {
	j.Open('{')
	j.Key("abi")
	j.Open('{')
	j.Field("major", abi.Major)
	j.Field("minor", abi.Minor)
	j.Close('}')
	j.Text("sdk", Version)
	var all []string
	for _, f := range m.Functions {
		for _, r := range f.Requires {
			if !slices.Contains(all, r) {
				all = append(all, r)
			}
		}
	}
	slices.Sort(all)
	j.Texts("requires", all)
	j.Key("functions")
	j.Open('[')
	for _, f := range m.Functions {
		f.manifest(j)
	}
	j.Close(']')
	if m.Graph != nil {
		j.Key("graph")
		if err := m.Graph.AppendJSON(j); err != nil {
			return err
		}
	}
	j.Close('}')
	return nil
}

func (f *Function) manifest(j *JSON) {
	j.Open('{')
	j.Text("name", f.Name)
	if f.Type != "" {
		j.Text("type", f.Type)
	}
	if f.Doc != "" {
		j.Text("doc", f.Doc)
	}
	j.Key("inputs")
	j.Open('[')
	for _, in := range f.Inputs {
		j.Open('{')
		j.Text("name", in.Name)
		j.Text("columns", in.Columns.Text())
		if len(in.Key) > 0 {
			j.Texts("key", in.Key)
		}
		j.Close('}')
	}
	j.Close(']')
	j.Key("outputs")
	j.Open('[')
	for _, o := range f.Outputs {
		j.Open('{')
		j.Text("name", o.Name)
		j.Text("columns", o.Columns.Text())
		j.Close('}')
	}
	j.Close(']')
	if len(f.States) > 0 {
		j.Key("state")
		j.Open('[')
		for _, s := range f.States {
			s.manifest(j)
		}
		j.Close(']')
	}
	if len(f.Timers) > 0 {
		j.Key("timers")
		j.Open('[')
		for _, t := range f.Timers {
			j.Open('{')
			j.Text("name", t.Name)
			kind := "event"
			if t.Kind == abi.CauseProcessingTimer {
				kind = "processing"
			}
			j.Text("kind", kind)
			j.Close('}')
		}
		j.Close(']')
	}
	requires := slices.Clone(f.Requires)
	slices.Sort(requires)
	j.Texts("requires", requires)
	j.Close('}')
}

func (s *State) manifest(j *JSON) {
	j.Open('{')
	j.Text("name", s.Name)
	j.Text("kind", s.Kind)
	form := "framed"
	if s.Framed == nil {
		form = "hosted"
	}
	j.Text("form", form)
	j.Text("codec", s.Codec)
	j.Text("value", s.Value)
	if s.Key != "" {
		j.Text("key", s.Key)
	}
	j.Field("version", int64(s.Version))
	j.Field("ttl_ms", s.TTLMs)
	on := "write"
	if s.TTLRead {
		on = "read_write"
	}
	j.Text("ttl_on", on)
	if s.Framed != nil {
		j.Field("max_bytes", int64(s.MaxBytes))
	}
	j.Close('}')
}
