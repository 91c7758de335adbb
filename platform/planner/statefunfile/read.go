package statefunfile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weirstream/weir/platform/planner/pipelinefile"
)

// table reads fields by their names.
type table map[string]func(*yaml.Node)

// strictness says what becomes of a field that is not known.
type strictness int

const (
	strict  strictness = iota // our kinds: it is refused
	lenient                   // StateFun's: it is left out, with a warning
)

// fields reads a mapping.
func (c *converter) fields(n *yaml.Node, what string, how strictness, known table) {
	if n = resolve(n); n.Kind != yaml.MappingNode {
		c.problem(n, "", "%s is a mapping of fields", what)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], resolve(n.Content[i+1])
		read, ok := known[key.Value]
		switch {
		case seen[key.Value]:
			c.problem(key, "keep one", "field %q stands twice in %s", key.Value, what)
		case ok:
			read(value)
		default:
			names := make([]string, 0, len(known))
			for name := range known {
				names = append(names, name)
			}
			slices.Sort(names)
			hint := pipelinefile.Suggest(key.Value, names)
			if how == strict {
				c.problem(key, hint, "unknown field %q in %s", key.Value, what)
				break
			}
			if !strings.HasPrefix(hint, "did you mean") {
				hint = ""
			}
			c.warn(key, hint, "field %q of %s has no meaning here and is left out", key.Value, what)
		}
		seen[key.Value] = true
	}
}

func (c *converter) text(n *yaml.Node) string {
	if n = resolve(n); n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		c.problem(n, "", "a text is wanted here")
		return ""
	}
	return n.Value
}

func (c *converter) texts(n *yaml.Node, hint string) (out []string) {
	if n.Kind != yaml.SequenceNode {
		c.problem(n, hint, "a list is wanted here")
		return nil
	}
	for _, v := range n.Content {
		out = append(out, c.text(v))
	}
	return out
}

func (c *converter) count(n *yaml.Node, most int) int {
	text := c.text(n)
	v, err := strconv.Atoi(text)
	if err != nil || v < 1 || v > most {
		c.problem(n, "", "%q is no number from 1 to %d", text, most)
		return 0
	}
	return v
}

func (c *converter) flag(n *yaml.Node) bool {
	text := c.text(n)
	v, err := strconv.ParseBool(text)
	if err != nil {
		c.problem(n, "", "%q is neither true nor false", text)
	}
	return v
}

// once refuses what stands in two documents.
func (c *converter) once(n *yaml.Node, what, name string) {
	if name == "" {
		return
	}
	key := what + " " + name
	if before, ok := c.seen[key]; ok {
		c.problem(n, "", "%s %q stands in line %d already", what, name, before.Line)
		return
	}
	c.seen[key] = posOf(n)
}

// Durations are those of Flink: a number and a unit, with or without a blank
// between; a number alone has milliseconds.
const maxDurationDigits = 9

func (c *converter) duration(n *yaml.Node) string {
	whole := c.text(n)
	text := strings.Join(strings.Fields(strings.ToLower(whole)), "")
	at := strings.IndexFunc(text+"|", func(r rune) bool { return r < '0' || r > '9' })
	digits, label := text[:at], text[at:]
	unit, ok := units[label]
	switch {
	case !ok || at == 0:
		c.problem(n, "write it like 10s or 2min", "%q is no duration", whole)
		return ""
	case strings.Trim(digits, "0") == "" || len(digits) > maxDurationDigits:
		c.problem(n, "write it like 10s or 2min", "%q is not between a millisecond and %s days", whole, strings.Repeat("9", maxDurationDigits))
		return ""
	case unit == "d":
		days, err := strconv.Atoi(digits)
		if err != nil {
			return ""
		}
		return fmt.Sprint(days*24) + "h"
	}
	return digits + unit
}

var units = map[string]string{
	"": "ms", "ms": "ms", "milli": "ms", "millis": "ms", "millisecond": "ms", "milliseconds": "ms",
	"s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s",
	"m": "m", "min": "m", "mins": "m", "minute": "m", "minutes": "m",
	"h": "h", "hour": "h", "hours": "h", "d": "d", "day": "d", "days": "d",
}

// resolve follows an alias.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
