package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/key"
	"github.com/weirstream/weir/abi/row"
	"github.com/weirstream/weir/abi/schema"
)

// ErrManifest is wrapped by every refusal of a manifest.
var ErrManifest = errors.New("bad manifest")

// MaxDepth is how deep a manifest's JSON may nest.
const MaxDepth = 64

// RefusalError is a module's own refusal to describe itself, {"error":"..."}.
type RefusalError struct{ Reason string }

func (e *RefusalError) Error() string { return "the module refuses to describe itself: " + e.Reason }

// Parse reads and checks a manifest. Every error names the function and the entry; a module's own refusal is a
// *RefusalError.
func Parse(text []byte) (*Manifest, error) {
	if len(text) > abi.MaxManifestBytes {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d: split the module", ErrManifest, len(text), abi.MaxManifestBytes)
	}
	if err := checkJSON(text); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	var refusal struct {
		Error *string `json:"error"`
	}
	if json.Unmarshal(text, &refusal) == nil && refusal.Error != nil {
		return nil, &RefusalError{*refusal.Error}
	}
	m := &Manifest{}
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	return m, nil
}

// checkJSON refuses what encoding/json would let pass: names twice in an object, of which it silently takes the last, and
// deep nesting.
func checkJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	type level struct {
		names map[string]bool // nil: an array
		value bool            // the next token of the object is a value
	}
	var open []level
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		top := len(open) - 1
		if name, ok := t.(string); ok && top >= 0 && open[top].names != nil && !open[top].value {
			if open[top].names[name] {
				return fmt.Errorf("name %q stands twice in one object", name)
			}
			open[top].names[name] = true
			open[top].value = true
			continue
		}
		if top >= 0 {
			open[top].value = false
		}
		switch t {
		case json.Delim('{'):
			open = append(open, level{names: map[string]bool{}})
		case json.Delim('['):
			open = append(open, level{})
		case json.Delim('}'), json.Delim(']'):
			open = open[:top]
		}
		if len(open) > MaxDepth {
			return fmt.Errorf("more than %d levels of JSON", MaxDepth)
		}
	}
}

func (m *Manifest) check() error {
	if m.ABI.Major != abi.Major {
		return fmt.Errorf("abi major %d, this host speaks %d: rebuild the module with a matching SDK", m.ABI.Major, abi.Major)
	}
	if m.ABI.Minor < 0 || m.ABI.Minor > abi.Minor {
		return fmt.Errorf("abi %d.%d, this host speaks %d.%d: upgrade the host", m.ABI.Major, m.ABI.Minor, abi.Major, abi.Minor)
	}
	if err := checkRequires(m.Requires); err != nil {
		return err
	}
	if err := atMost("functions", len(m.Functions), abi.MaxFunctions); err != nil {
		return err
	}
	if len(m.Functions) == 0 {
		return errors.New("no functions: a module declares at least one")
	}
	seen, types := names{}, map[string]bool{}
	for i := range m.Functions {
		f := &m.Functions[i]
		if err := seen.add("function", f.Name); err != nil {
			return err
		}
		if err := f.check(); err != nil {
			return fmt.Errorf("function %s: %w", f.Name, err)
		}
		if err := f.checkStateful(); err != nil {
			return fmt.Errorf("function %s: %w", f.Name, err)
		}
		if f.Type != "" && types[f.Type] {
			return fmt.Errorf("function %s: two functions have the type %s", f.Name, f.Type)
		}
		types[f.Type] = true
		if err := m.checkCapabilities(f); err != nil {
			return fmt.Errorf("function %s: %w", f.Name, err)
		}
		m.sign(f)
	}
	return nil
}

func (f *Function) check() error {
	for _, l := range []struct {
		what    string
		n, most int
	}{{"inputs", len(f.Inputs), abi.MaxInputs}, {"outputs", len(f.Outputs), abi.MaxOutputs}, {"states", len(f.State), abi.MaxStates}, {"timers", len(f.Timers), abi.MaxTimers}} {
		if err := atMost(l.what, l.n, l.most); err != nil {
			return err
		}
	}
	if len(f.Inputs) == 0 {
		return errors.New("no inputs: a function has at least one")
	}
	if err := checkRequires(f.Requires); err != nil {
		return err
	}
	inputs, outputs, states, timers := names{}, names{}, names{}, names{}
	for i := range f.Inputs {
		if err := inputs.add("input", f.Inputs[i].Name); err != nil {
			return err
		}
		if err := f.Inputs[i].check(&f.Inputs[0]); err != nil {
			return fmt.Errorf("input %s: %w", f.Inputs[i].Name, err)
		}
	}
	for i := range f.Outputs {
		o := &f.Outputs[i]
		if err := outputs.add("output", o.Name); err != nil {
			return err
		}
		var err error
		if o.schema, err = schema.Parse(o.Columns); err != nil {
			return fmt.Errorf("output %s: columns: %w", o.Name, err)
		}
	}
	if !f.Keyed() && len(f.State)+len(f.Timers) > 0 {
		return errors.New("state or timers without a key: give every input a key")
	}
	for i := range f.State {
		if err := states.add("state", f.State[i].Name); err != nil {
			return err
		}
		if err := f.State[i].check(); err != nil {
			return fmt.Errorf("state %s: %w", f.State[i].Name, err)
		}
	}
	for _, t := range f.Timers {
		if err := timers.add("timer", t.Name); err != nil {
			return err
		}
		if t.Kind != EventTime && t.Kind != ProcessingTime {
			return fmt.Errorf("timer %s: kind %q, want %s or %s", t.Name, t.Kind, EventTime, ProcessingTime)
		}
	}
	return nil
}

func (i *Input) check(first *Input) (err error) {
	if i.schema, err = schema.Parse(i.Columns); err != nil {
		return fmt.Errorf("columns: %w", err)
	}
	if len(i.Key) != len(first.Key) {
		return fmt.Errorf("%d key columns, input %s has %d: all inputs have the same key types, or none is keyed", len(i.Key), first.Name, len(first.Key))
	}
	seen := map[string]bool{}
	for j, name := range i.Key {
		at := i.schema.Index(name)
		if at < 0 {
			return fmt.Errorf("key column %q is not among the columns %v", name, i.schema.Names())
		}
		if seen[name] {
			return fmt.Errorf("key column %q stands twice", name)
		}
		seen[name] = true
		t := i.schema.Fields[at].Type
		if !t.Kind.Keyable() {
			return fmt.Errorf("key column %s is a %s: list, struct and map are not keys", name, t.Kind)
		}
		if other := first.schema.Fields[first.schema.Index(first.Key[j])].Type; !t.Equal(&other) {
			return fmt.Errorf("key column %s is %s, that of input %s is %s: all inputs have the same key types", name, t, first.Name, other)
		}
	}
	return nil
}

func (s *State) check() (err error) {
	if s.Form != Framed && s.Form != Hosted {
		return fmt.Errorf("form %q, want %s or %s", s.Form, Framed, Hosted)
	}
	switch s.Kind {
	case Value, Reducing, Aggregating:
		if s.Form == Hosted {
			return fmt.Errorf("a %s state is framed, not hosted: use a map for large state", s.Kind)
		}
	case Map:
		if s.Form == Framed {
			return errors.New("a map state is hosted, not framed")
		}
	case List:
	default:
		return fmt.Errorf("kind %q, want %s, %s, %s, %s or %s", s.Kind, Value, Reducing, Aggregating, List, Map)
	}
	if s.Version < 0 || s.TTLMs < 0 {
		return fmt.Errorf("version %d and ttl_ms %d are not negative", s.Version, s.TTLMs)
	}
	if s.TTLOn == "" {
		s.TTLOn = OnWrite
	}
	if s.TTLOn != OnWrite && s.TTLOn != OnReadWrite {
		return fmt.Errorf("ttl_on %q, want %s or %s", s.TTLOn, OnWrite, OnReadWrite)
	}
	if err := s.checkSize(); err != nil {
		return err
	}
	if err := s.checkKey(); err != nil {
		return err
	}
	return s.checkCodec()
}

func (s *State) checkSize() error {
	if s.Form == Hosted {
		if s.MaxBytes != 0 {
			return fmt.Errorf("max_bytes %d of a hosted state: it is for framed ones, a hosted value has at most %d bytes", s.MaxBytes, abi.MaxHostedValueBytes)
		}
		return nil
	}
	if s.MaxBytes == 0 {
		s.MaxBytes = abi.DefaultStateValueBytes
	}
	if s.MaxBytes < 0 || s.MaxBytes > abi.MaxStateValueBytes {
		return fmt.Errorf("max_bytes %d, the limit is %d: declare the state hosted", s.MaxBytes, abi.MaxStateValueBytes)
	}
	return nil
}

func (s *State) checkKey() error {
	if s.Kind != Map {
		if s.Key != "" {
			return fmt.Errorf("key %q of a %s state: only a map has keys", s.Key, s.Kind)
		}
		return nil
	}
	t, err := schema.ParseType(s.Key)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if t.Nullable {
		return fmt.Errorf("key %s is nullable: map keys are never null, drop the ?", s.Key)
	}
	ks, err := schema.New(schema.Field{Name: "key", Type: t})
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if err := key.Check(ks); err != nil {
		return err
	}
	s.key = ks
	return nil
}

func (s *State) checkCodec() (err error) {
	switch {
	case s.Codec == CodecRow:
		if s.row, err = row.Parse(s.Value); err != nil {
			return fmt.Errorf("value: %w", err)
		}
		if s.Kind == List && s.Form == Framed && (len(s.row.Fields) != 1 || s.row.Fields[0].Type.Kind != schema.List) {
			return fmt.Errorf("value %q of a framed list: want one field of a list type, as 1:value:list<int64>", s.Value)
		}
		return nil
	case s.Codec == CodecBytes, s.Codec == CodecJSON, strings.HasPrefix(s.Codec, CodecProtobuf) && len(s.Codec) > len(CodecProtobuf):
		if s.Value != "" {
			return fmt.Errorf("value %q with codec %s: only codec %s has one", s.Value, s.Codec, CodecRow)
		}
		return nil
	}
	return fmt.Errorf("codec %q, want %s, %s, %s or %s<full name>", s.Codec, CodecRow, CodecBytes, CodecJSON, CodecProtobuf)
}

func (m *Manifest) checkCapabilities(f *Function) error {
	for i := range f.State {
		if f.State[i].Form == Hosted && !m.Needs(f, abi.CapabilityHostedState) {
			return fmt.Errorf("state %s is hosted, but %q is not among requires", f.State[i].Name, abi.CapabilityHostedState)
		}
	}
	nested := ""
	for i := range f.Inputs {
		if f.Inputs[i].schema.Nested() {
			nested = "input " + f.Inputs[i].Name
		}
	}
	for i := range f.Outputs {
		if f.Outputs[i].schema.Nested() {
			nested = "output " + f.Outputs[i].Name
		}
	}
	if nested != "" && !m.Needs(f, abi.CapabilityNested) {
		return fmt.Errorf("%s has list, struct or map columns, but %q is not among requires", nested, abi.CapabilityNested)
	}
	return nil
}

func checkRequires(list []string) error {
	seen := map[string]bool{}
	for _, c := range list {
		switch c {
		case abi.CapabilityHostedState, abi.CapabilityPositions, abi.CapabilityChangelog, abi.CapabilityNested:
		case abi.CapabilityMessages, abi.CapabilityRequests, abi.CapabilityEgress:
			return fmt.Errorf("requires %q, which is reserved: upgrade the host", c)
		default:
			return fmt.Errorf("requires %q, which this host does not know: upgrade the host", c)
		}
		if seen[c] {
			return fmt.Errorf("requires %q twice", c)
		}
		seen[c] = true
	}
	return nil
}

func atMost(what string, n, most int) error {
	if n > most {
		return fmt.Errorf("%d %s, the limit is %d: split it", n, what, most)
	}
	return nil
}

type names map[string]bool

func (n names) add(what, name string) error {
	if err := CheckName(name); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if n[name] {
		return fmt.Errorf("%s %s is declared twice: rename one", what, name)
	}
	n[name] = true
	return nil
}

// CheckName tells whether name may be that of a function, input, output, state or timer.
func CheckName(name string) error {
	if name == "" || len(name) > abi.MaxIdentifierBytes {
		return fmt.Errorf("name %.80q has %d bytes, want 1 to %d", name, len(name), abi.MaxIdentifierBytes)
	}
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return fmt.Errorf("name %q: only letters, digits, _ and -", name)
		}
	}
	return nil
}
