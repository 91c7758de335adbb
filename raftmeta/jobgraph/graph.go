// Package jobgraph describes what a job runs: stages of chained operators and
// the edges between them. Every front door (a pipeline file, a module's own
// graph, later SQL and stateful functions) ends in a Graph, and the runtime
// knows only that. A Graph is stored as a blob named by its digest. The package
// is pure and must not know where a graph came from nor how it is run.
package jobgraph

import "encoding/json"

// FormatVersion is the version of the stored form of a Graph.
const FormatVersion = 1

// Limits of one graph. A graph past one of them is refused by Validate.
const (
	MaxStages            = 256
	MaxOperatorsPerStage = 512 // stateful functions have one for each type
	MaxEdges             = 1024
	MaxParallelism       = 256 // the number of key groups
	MaxIDBytes           = 128
	MaxConfigBytes       = 256 << 10
)

// Graph is the physical plan of one revision of a pipeline.
type Graph struct {
	Version int     `json:"version"`
	Stages  []Stage `json:"stages"`
	Edges   []Edge  `json:"edges"`
}

// StageID numbers a stage within its graph; it is the stage's index.
type StageID uint16

// Stage is a chain of operators that run in one task at one parallelism. The
// head takes the stage's inputs; operators refer to each other by index.
type Stage struct {
	ID          StageID    `json:"id"`
	Name        string     `json:"name"`
	Parallelism int        `json:"parallelism"`
	Operators   []Operator `json:"operators"`
}

// Operator is one transformation. ID is stable across revisions, because state
// belongs to it: it is given by the user or derived from names, never from a
// position in the graph.
type Operator struct {
	ID     string          `json:"id"`
	Kind   string          `json:"kind"`   // a name in the runtime's operator table: source, udf, aggregate, sink, …
	Config json.RawMessage `json:"config"` // read by the operator's kind alone
	// Inputs are the schemas (canonical text) that the operator takes, in order.
	Inputs []string `json:"inputs,omitempty"`
	// Outputs are the schemas that it gives, in order; 0 is the main one.
	Outputs []string `json:"outputs,omitempty"`
	// Key names the key columns per input; empty for an operator without keyed state.
	Key [][]string `json:"key,omitempty"`
	// State describes the operator's keyed state, so that drift is found before a start.
	State []State `json:"state,omitempty"`
	// Backend says where the state is while the job runs. It is no part of the
	// state's shape: files are the same, and a later revision may choose another.
	Backend Backend `json:"backend,omitempty"`
	// Upstream wires each input to an operator of the same stage; -1 is an edge into the stage.
	Upstream []Port `json:"upstream,omitempty"`
}

// Backend is where keyed state is kept while a job runs.
type Backend string

// The backends. Memory has no text, so that graphs without a word for it stay as
// they are.
const (
	InMemory Backend = ""
	OnDisk   Backend = "disk" // what is in use is in memory, the rest in files of the worker
)

// Port names an output of an operator within a stage. Operator -1 stands for
// the stage's own input with the number Output.
type Port struct {
	Operator int `json:"operator"`
	Output   int `json:"output"`
}

// State is the shape of one named state of an operator.
type State struct {
	Name     string `json:"name"`
	Kind     string `json:"kind"` // value, reducing, aggregating, list, map, timers
	Form     string `json:"form"` // framed, hosted
	Codec    string `json:"codec"`
	Value    string `json:"value,omitempty"`
	Key      string `json:"key,omitempty"`
	Version  int    `json:"version,omitempty"`
	TTLMs    int64  `json:"ttl_ms,omitempty"`
	TTLOn    string `json:"ttl_on,omitempty"` // write, read_write
	MaxBytes int    `json:"max_bytes,omitempty"`
}

// Partitioning says which task of the target stage a row goes to.
type Partitioning string

// The partitionings of an edge.
const (
	Forward   Partitioning = "forward"   // task i to task i; both stages have one parallelism
	Hash      Partitioning = "hash"      // by key group of Edge.Key
	Broadcast Partitioning = "broadcast" // to every task
	Rebalance Partitioning = "rebalance" // round robin by batch
)

// Edge carries one operator's output to an input of another stage.
type Edge struct {
	From     StageID `json:"from"`
	Operator int     `json:"operator"` // index in From
	Output   int     `json:"output"`
	To       StageID `json:"to"`
	Input    int     `json:"input"` // the stage's input number
	// Partitioning and Key say where a row goes; Key names columns, for Hash only.
	Partitioning Partitioning `json:"partitioning"`
	Key          []string     `json:"key,omitempty"`
	Schema       string       `json:"schema"`
	// Feedback marks an edge that closes a cycle (stateful functions). It leads by
	// hash from a stage to itself, which has an input from outside too.
	Feedback bool `json:"feedback,omitempty"`
	// Durable edges go through a topic and so end a region.
	Durable bool `json:"durable,omitempty"`
}

// Inputs counts the inputs of a stage: one more than the highest number that an edge names.
func (g *Graph) Inputs(id StageID) int {
	n := 0
	for i := range g.Edges {
		if e := &g.Edges[i]; e.To == id && e.Input >= n {
			n = e.Input + 1
		}
	}
	return n
}
