package source

import (
	"encoding/json"
	"fmt"

	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// topicConnector is the kind whose option start says where a split without a position begins.
const topicConnector = "topic"

// StartAt makes the sources of a graph begin with what is there, or behind it,
// whatever their file says of the first start. Other connectors than topics begin at their beginning.
func StartAt(g *jobgraph.Graph, end bool) error {
	start := "earliest"
	if end {
		start = "latest"
	}
	for i := range g.Stages {
		for j := range g.Stages[i].Operators {
			o := &g.Stages[i].Operators[j]
			if o.Kind != Kind {
				continue
			}
			var c Config
			if err := json.Unmarshal(o.Config, &c); err != nil {
				return fmt.Errorf("source %s: read its configuration: %w", o.ID, err)
			}
			if c.Connector != topicConnector {
				continue
			}
			options := map[string]json.RawMessage{}
			if len(c.Options) > 0 {
				if err := json.Unmarshal(c.Options, &options); err != nil {
					return fmt.Errorf("source %s: read its options: %w", o.ID, err)
				}
			}
			options["start"] = json.RawMessage(`"` + start + `"`)
			var err error
			if c.Options, err = json.Marshal(options); err == nil {
				o.Config, err = json.Marshal(c)
			}
			if err != nil {
				return fmt.Errorf("source %s: %w", o.ID, err)
			}
		}
	}
	return nil
}
