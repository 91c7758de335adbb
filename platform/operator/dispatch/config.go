package dispatch

// Kind is the operator's name in job graphs.
const Kind = "dispatch"

// Config is the operator's part of a job graph. Both inputs are of
// functions.Message: 0 comes from outside, 1 by the feedback edge. So is each output.
type Config struct {
	// Types are those of output 0, 1, …: each "namespace/name", or "namespace/*"
	// for what no other names. The output after them takes what nothing here names.
	Types []string `json:"types"`
}
