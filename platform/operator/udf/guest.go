package udf

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/manifest"
	"github.com/weirstream/weir/wasmhost"
)

// guest is the live instance and how to make another.
type guest struct {
	opening  *wasmhost.Opening
	instance *wasmhost.Instance
	handle   uint32
	fresh    bool           // not called yet
	before   wasmhost.Stats // of instances that are gone
}

// renew replaces the instance by a fresh one with the function open.
func (g *guest) renew(ctx context.Context) error {
	if err := g.close(ctx); err != nil {
		return err
	}
	instance, handle, err := g.opening.Instance(ctx)
	if err != nil {
		return err
	}
	g.instance, g.handle, g.fresh = instance, handle, true
	return nil
}

func (g *guest) close(ctx context.Context) error {
	if g.instance == nil {
		return nil
	}
	s := g.instance.Stats()
	g.before.Calls += s.Calls
	g.before.GuestTime += s.GuestTime
	instance := g.instance
	g.instance = nil
	return instance.Close(ctx)
}

// stats are the counters of all instances so far.
func (g *guest) stats() wasmhost.Stats {
	s := g.before
	if g.instance != nil {
		now := g.instance.Stats()
		s.Calls += now.Calls
		s.GuestTime += now.GuestTime
		s.MemoryBytes = now.MemoryBytes
	}
	return s
}

// openRequest writes the container that weir_open takes. Nothing in it belongs to one task.
func openRequest(c Config, m *manifest.Manifest, f *manifest.Function, assets []frame.Asset) []byte {
	config := []byte(c.Config)
	if len(config) == 0 {
		config = []byte("{}")
	}
	granted := []byte(strings.Join(append(append([]string{}, m.Requires...), f.Requires...), "\n"))
	sig := f.Signature()
	var schemas struct {
		Inputs  []string `json:"inputs"`
		Outputs []string `json:"outputs"`
	}
	for _, s := range sig.Inputs {
		schemas.Inputs = append(schemas.Inputs, s.String())
	}
	for _, s := range sig.Outputs {
		schemas.Outputs = append(schemas.Outputs, s.String())
	}
	text, err := json.Marshal(schemas)
	if err != nil {
		panic(fmt.Sprintf("udf: schemas are plain text: %v", err))
	}
	parts := []struct {
		id   uint16
		must uint16
		body []byte
	}{
		{abi.OpenSectionFunction, abi.SectionMustUnderstand, []byte(f.Name)},
		{abi.OpenSectionConfig, abi.SectionMustUnderstand, config},
		{abi.OpenSectionCapabilities, abi.SectionMustUnderstand, granted},
		{abi.OpenSectionSchemas, 0, text},
	}
	var w frame.ContainerWriter
	w.Reset(frame.KindOpen)
	for _, p := range parts {
		w.Reserve(p.id, 0, p.must, len(p.body))
	}
	for i, a := range assets {
		w.Reserve(abi.OpenSectionAsset, uint32(i), 0, a.Size())
	}
	out := make([]byte, w.Size())
	w.Begin(out)
	for i, p := range parts {
		copy(w.Body(i), p.body)
	}
	for i, a := range assets {
		a.Put(w.Body(len(parts) + i))
	}
	return out
}
