package outbox

// Kind is the operator's name in job graphs.
const Kind = "outbox"

// Config is the operator's part of a job graph. Each input is of functions.Sent,
// functions.Egress or functions.Message, in any order and number; Key is
// caller_id for each. Output 0 (functions.Message) goes by the feedback edge to
// the stage's own dispatch; then comes one output (schema.Raw) for each egress,
// then one (functions.Message) for replies to calls.
type Config struct {
	Egress []string `json:"egress,omitempty"` // of output 1, 2, …: "namespace/name"
	// DeadLetters: what cannot be sent (an egress that is not there, a value over
	// its limit) goes to the output after the replies; otherwise it fails the job.
	DeadLetters bool `json:"dead_letters,omitempty"`
}
