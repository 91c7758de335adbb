package ingress

// Kind is the operator's name in job graphs.
const Kind = "ingress"

// Config is the operator's part of a job graph. The input is schema.Raw, output 0
// functions.Message.
type Config struct {
	To []string `json:"to"` // types that each record goes to
	// Field of the record's JSON that is the id, dotted for one within an object; empty: the record's key.
	Field string `json:"field,omitempty"`
	// Typename of the messages.
	Typename string `json:"typename"`
	// Wrap puts the record's bytes into a protobuf wrapper as StateFun's types
	// have it: for io.statefun.types/string and the other primitive types only.
	Wrap bool `json:"wrap,omitempty"`
	// DeadLetters: records without an id go to output 1; otherwise they fail the job.
	DeadLetters bool `json:"dead_letters,omitempty"`
}
