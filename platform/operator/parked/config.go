package parked

// Kind is the operator's name in job graphs.
const Kind = "parked"

// Config is the operator's part of a job graph. Input and output 0 are of
// functions.Message, the key is id.
type Config struct {
	// Types are those that the stage has by now, as in dispatch.
	Types []string `json:"types"`
}
