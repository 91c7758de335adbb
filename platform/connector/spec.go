package connector

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirstream/weir/platform/nearest"
)

// FieldType is what a configuration field holds.
type FieldType string

// The types of fields.
const (
	Text     FieldType = "text"
	Flag     FieldType = "true or false"
	Number   FieldType = "number"   // a whole one, not negative
	Duration FieldType = "duration" // such as 10s
)

// Field is one field of a connector's configuration.
type Field struct {
	Name     string
	Type     FieldType
	Doc      string
	Required bool
	Default  string   // as text; empty: none
	Choices  []string // of a text; nil: any
	// Public is a text that shows in positions, names or status: no secret may stand in it.
	Public bool
}

// Spec describes one direction of a connector. Reading, checking and documenting
// its configuration all come from it.
type Spec struct {
	Kind   string
	Doc    string
	Fields []Field
}

// Values is a configuration that was read and checked.
type Values struct {
	texts   map[string]string
	numbers map[string]int64
}

// Text gives a text field.
func (v Values) Text(name string) string { return v.texts[name] }

// Flag gives a flag.
func (v Values) Flag(name string) bool { return v.numbers[name] != 0 }

// Number gives a number.
func (v Values) Number(name string) int64 { return v.numbers[name] }

// Duration gives a duration.
func (v Values) Duration(name string) time.Duration { return time.Duration(v.numbers[name]) }

// FieldError is a mistake in a configuration.
type FieldError struct {
	Kind, Field string
	Reason      string
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("%s: option %q: %s", e.Kind, e.Field, e.Reason)
}

// Read reads a configuration, which is a JSON object. All mistakes are reported,
// each a *FieldError.
func (s Spec) Read(options json.RawMessage) (Values, error) {
	v := Values{texts: map[string]string{}, numbers: map[string]int64{}}
	given := map[string]json.RawMessage{}
	if len(bytes.TrimSpace(options)) > 0 {
		if err := json.Unmarshal(options, &given); err != nil {
			return v, fmt.Errorf("%s: options are no object: %w", s.Kind, err)
		}
	}
	var errs []error
	for _, f := range s.Fields {
		raw, ok := given[f.Name]
		delete(given, f.Name)
		if !ok || string(raw) == "null" {
			if f.Required {
				errs = append(errs, s.fault(f.Name, "it is required: "+f.Doc))
				continue
			}
			if f.Default == "" {
				continue
			}
			raw = quoteDefault(f)
		}
		if why := v.set(f, raw); why != "" {
			errs = append(errs, s.fault(f.Name, why))
		}
	}
	for _, name := range sortedNames(given) {
		why := "there is no such option"
		if near := Nearest(name, s.names()); near != "" {
			why += fmt.Sprintf(": did you mean %q?", near)
		} else {
			why += ": there are " + strings.Join(s.names(), ", ")
		}
		errs = append(errs, s.fault(name, why))
	}
	return v, errors.Join(errs...)
}

func (s Spec) fault(field, why string) error { return &FieldError{s.Kind, field, why} }

func (s Spec) names() []string {
	names := make([]string, len(s.Fields))
	for i, f := range s.Fields {
		names[i] = f.Name
	}
	return names
}

func sortedNames(m map[string]json.RawMessage) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func quoteDefault(f Field) json.RawMessage {
	if f.Type == Text || f.Type == Duration {
		return json.RawMessage(strconv.Quote(f.Default)) // defaults are plain words: Go's quotes are JSON's
	}
	return json.RawMessage(f.Default)
}

// set stores one value; a reason says why it is refused.
func (v Values) set(f Field, raw json.RawMessage) (why string) {
	switch f.Type {
	case Text:
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return fmt.Sprintf("%s is no text", raw)
		}
		if f.Choices != nil && !slices.Contains(f.Choices, text) {
			why = fmt.Sprintf("%q is not one of %s", text, strings.Join(f.Choices, ", "))
			if near := Nearest(text, f.Choices); near != "" {
				why += fmt.Sprintf(": did you mean %q?", near)
			}
			return why
		}
		v.texts[f.Name] = text
	case Flag:
		var flag bool
		if json.Unmarshal(raw, &flag) != nil {
			return fmt.Sprintf("%s is neither true nor false", raw)
		}
		if flag {
			v.numbers[f.Name] = 1
		}
	case Number:
		var n float64
		if json.Unmarshal(raw, &n) != nil || n < 0 || n != math.Trunc(n) || n > 1<<53 {
			return fmt.Sprintf("%s is no whole number from 0 on", raw)
		}
		v.numbers[f.Name] = int64(n)
	case Duration:
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return fmt.Sprintf("%s is no duration: write it as \"10s\" or \"5m\"", raw)
		}
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return fmt.Sprintf("%q is no duration: write it as \"10s\" or \"5m\"", text)
		}
		v.numbers[f.Name] = int64(d)
	}
	return ""
}

// Help documents the options, a line or more each.
func (s Spec) Help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", s.Kind, s.Doc)
	for _, f := range s.Fields {
		fmt.Fprintf(&b, "  %s (%s", f.Name, f.Type)
		switch {
		case f.Required:
			b.WriteString(", required")
		case f.Default != "":
			fmt.Fprintf(&b, ", default %s", f.Default)
		}
		b.WriteString("): " + f.Doc)
		if f.Choices != nil {
			b.WriteString(" One of " + strings.Join(f.Choices, ", ") + ".")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// maxTypos is how far a name may be from what was meant.
const maxTypos = 2

// Nearest finds the name that was probably meant; empty if none is close.
func Nearest(name string, names []string) string {
	best, least := "", maxTypos+1
	for _, n := range names {
		if d := nearest.Distance(strings.ToLower(name), strings.ToLower(n)); d < least && d < len(n) {
			best, least = n, d
		}
	}
	return best
}
