package statefunfile

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
)

// playIn is StateFun's server for messages over HTTP, which Weir has at its own port.
func (c *converter) playIn(n *yaml.Node) {
	c.fields(n, "a playground's ingress", lenient, table{"port": func(*yaml.Node) {}})
	c.warn(n, "send by: curl -X PUT SERVER/v1/functions/NAMESPACE/NAME/ID with the same content type and body", "no server of its own: messages come to Weir's port")
}

func (c *converter) playOut(n *yaml.Node) {
	c.fields(n, "a playground's egress", lenient, table{
		"port": func(*yaml.Node) {},
		"topics": func(v *yaml.Node) {
			for _, t := range c.texts(v, "write the names of topics: [greetings]") {
				id := PlaygroundEgress + "/" + t
				c.once(v, "an egress", id)
				c.file.Functions.Egress = append(c.file.Functions.Egress, egress{id, t})
				c.out.Topics = append(c.out.Topics, t)
			}
		},
	})
	c.warn(n, "read by: weir topic read NAME", "no server of its own: what functions give is in topics of the same names")
}

func (c *converter) topicIn(n *yaml.Node) {
	in := ingress{}
	c.fields(n, kindTopicIn, strict, table{
		"id": func(v *yaml.Node) {
			in.Name = strings.NewReplacer("/", "-", ".", "-").Replace(c.text(v))
			if in.Name != "" && !pipelinefile.ValidName(in.Name) {
				c.problem(v, "write a name, or namespace/name, of letters, digits, . _ and -", "%q cannot be the id of an ingress", v.Value)
			}
			c.once(v, "an ingress", in.Name)
		},
		"topic":     func(v *yaml.Node) { in.Topic = c.text(v) },
		"valueType": func(v *yaml.Node) { in.Typename = c.text(v) },
		"wrap":      func(v *yaml.Node) { in.Wrap = c.flag(v) },
		"idField":   func(v *yaml.Node) { in.ID = map[string]string{"field": c.text(v)} },
		"start": func(v *yaml.Node) {
			if in.Start = c.text(v); in.Start != "earliest" && in.Start != "latest" {
				c.problem(v, pipelinefile.Suggest(in.Start, []string{"earliest", "latest"}), "%q is not where a topic can be begun", in.Start)
			}
		},
		"targets": func(v *yaml.Node) {
			in.To = c.texts(v, "write them like [com.example/greeter]")
			for i, to := range in.To {
				if err := functions.CheckType(to); err != nil && to != "" {
					c.problem(v.Content[i], "", "%v", err)
				}
			}
		},
	})
	if in.Topic == "" || in.Typename == "" || len(in.To) == 0 {
		c.problem(n, "", "%s needs topic, valueType and targets", kindTopicIn)
		return
	}
	c.file.Functions.Ingress = append(c.file.Functions.Ingress, in)
}

func (c *converter) topicOut(n *yaml.Node) {
	e := egress{}
	c.fields(n, kindTopicOut, strict, table{
		"id": func(v *yaml.Node) {
			e.ID = c.text(v)
			if err := functions.CheckType(e.ID); err != nil && e.ID != "" {
				c.problem(v, "an egress is named like a type: namespace/name", "%v", err)
			}
			c.once(v, "an egress", e.ID)
		},
		"topic": func(v *yaml.Node) { e.Topic = c.text(v) },
	})
	if e.ID == "" || e.Topic == "" {
		c.problem(n, "", "%s needs id and topic", kindTopicOut)
		return
	}
	c.file.Functions.Egress = append(c.file.Functions.Egress, e)
}

// elsewhere refuses an ingress or an egress of another system, and says what to
// write in its place, with the names that it has.
func (c *converter) elsewhere(kind, spec *yaml.Node, system, unit string) {
	refuse := func(instead string) {
		c.problem(kind, "bring the records through a topic of Weir: "+instead, "%s: the %s connector is not built yet", kind.Value, system)
	}
	if strings.HasSuffix(kind.Value, "/egress") {
		refuse(fmt.Sprintf("kind: %s, spec: {id: %s, topic: NAME}; a function's records go there with their keys and values", kindTopicOut, orElse(child(spec, "id"), "NAMESPACE/NAME")))
		return
	}
	found := false
	if list := node(spec, unit+"s"); list != nil && list.Kind == yaml.SequenceNode {
		for _, t := range list.Content {
			var targets []string
			if v := node(resolve(t), "targets"); v != nil && v.Kind == yaml.SequenceNode {
				for _, to := range v.Content {
					targets = append(targets, resolve(to).Value)
				}
			}
			refuse(fmt.Sprintf("kind: %s, spec: {topic: %s, valueType: %s, targets: [%s]}", kindTopicIn,
				orElse(child(resolve(t), unit), "NAME"), orElse(child(resolve(t), "valueType"), "TYPE"), orElse(strings.Join(targets, ", "), "NAMESPACE/NAME")))
			found = true
		}
	}
	if !found {
		refuse(fmt.Sprintf("kind: %s, spec: {topic: NAME, valueType: TYPE, targets: [NAMESPACE/NAME]}", kindTopicIn))
	}
}

// node is a field of a mapping, or nil.
func node(n *yaml.Node, name string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return resolve(n.Content[i+1])
		}
	}
	return nil
}

// child is the text of a field, or nothing.
func child(n *yaml.Node, name string) string {
	if v := node(n, name); v != nil && v.Kind == yaml.ScalarNode {
		return v.Value
	}
	return ""
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
