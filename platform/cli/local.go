package cli

import (
	"context"
	"io"
	"time"

	"github.com/weirstream/weir/platform/auth"
	"github.com/weirstream/weir/platform/auth/tlsfiles"
)

// Local runs what needs more than the API: servers and jobs in this process.
// The main package fills it in; a nil function makes its command refuse.
type Local struct {
	RunServer  func(ctx context.Context, o ServerOptions) error
	RunWorker  func(ctx context.Context, o WorkerOptions) error
	RunDev     func(ctx context.Context, o DevOptions) error
	RunBounded func(ctx context.Context, o RunOptions) error
	RunTest    func(ctx context.Context, o TestOptions) error
}

// Durability says when the embedded log syncs to disk.
type Durability string

// Interval survives the death of the process, and loses at most the last sync
// interval on a power cut; Strict loses nothing.
const (
	Interval Durability = "interval"
	Strict   Durability = "strict"
)

// DefaultEagerMiB is the default of --eager-restore.
const DefaultEagerMiB = 64

// DefaultStateMiB is the default of --state-memory.
const DefaultStateMiB = 256

// ServerOptions are the flags of `weir server`.
type ServerOptions struct {
	DataDir    string
	Listen     string // host:port of the one HTTP port; port 0 picks one
	Auth       auth.Mode
	PlainHTTP  bool // an open port without TLS is wanted
	TLS        tlsfiles.Files
	SecretsKey string // file of the key of secrets; empty: one in DataDir
	Durability Durability
	NATSURL    string // an outside NATS instead of the embedded one
	NATSListen string // where the embedded NATS takes outside clients; empty: nowhere
	BlobURL    string // object storage instead of a folder; empty: DataDir/blobs
	NodeID     string
	RaftListen string   // empty: in memory, this node is the only voter
	RaftPeers  []string // id=host:port of every voter, this one included
	AwaitJoin  bool     // begin as a controller that the leader has yet to add
	Slots      int      // tasks that this worker may run; 0: enough for a laptop
	Roles      []string // none: all
	Join       []string // URLs of controllers, for a process that is none
	Advertise  string   // host:port where other processes reach Listen; empty: Listen itself
	EagerMiB   int      // of state that is loaded before a task reads
	StateMiB   int      // memory of all state on disk
	Trust      string   // PEM file of the authorities of other processes' certificates
	Token      string   // for a process that joins
	LogLevel   string   // debug, info, warn, error
	LogFormat  string   // text, json
	Log        io.Writer
	// Ready is called once, when the server answers at url.
	Ready func(url string)
}

// WorkerOptions are the flags of `weir worker`.
type WorkerOptions struct {
	Join      []string // URLs of controllers
	ID        string   // who it is across restarts; empty: made from the machine's name
	DataDir   string   // caches only; empty: a folder of the user's caches
	Listen    string
	Advertise string // host:port where other processes reach Listen; empty: Listen itself
	Auth      auth.Mode
	PlainHTTP bool
	TLS       tlsfiles.Files // of its own port
	Trust     string         // PEM file of the authorities of other processes' certificates
	Token     string         // of the role worker
	NATSURL   string         // the log, if it is not where the controllers say
	Slots     int
	EagerMiB  int
	StateMiB  int
	LogLevel  string
	LogFormat string
	Log       io.Writer
	// Patience is how long leaving waits for others to take the tasks over.
	Patience time.Duration
	// Ready is called once, when the worker has joined.
	Ready func(id, url string, slots int)
	// Draining is told how many jobs still have tasks here; Abandon ends the wait.
	Draining func(jobs int)
	Abandon  <-chan struct{}
}

// DevOptions are the flags of `weir dev`.
type DevOptions struct {
	Dir      string // the project: a pipeline file and the module's source or .wasm
	Pipeline string // the pipeline file
	Build    string // a command that builds the module; empty: found out
	Listen   string
	Topics   []string // input topics to feed: NAME=FILE
	// Say, Output and Guest may be called by several goroutines.
	// Say takes what happens, in order: builds, applied revisions, errors.
	Say func(DevEvent)
	// Output takes one record of a sink's topic, as JSON.
	Output func(topic string, record []byte)
	// Guest takes one log line of the pipeline.
	Guest func(level, operator, text string)
	// Log takes the server's own log.
	Log io.Writer
}

// DevStep is a step of `weir dev`.
type DevStep string

// The steps in the order in which an edit goes through them.
const (
	DevReady   DevStep = "ready"
	DevChanged DevStep = "changed"
	DevBuilt   DevStep = "built"
	DevPushed  DevStep = "pushed"
	DevApplied DevStep = "applied"
	DevFailed  DevStep = "failed" // the running revision goes on
)

// DevEvent is one thing that happened in `weir dev`.
type DevEvent struct {
	Step DevStep
	Text string
	Took time.Duration
}

// RunOptions are the flags of `weir run`: a pipeline over bounded input, in one
// process, until all of it is through.
type RunOptions struct {
	Pipeline string // path of the file; - is not allowed together with an input of -
	// Inputs and Outputs replace sources and sinks by name. Files are read and
	// written line by line in the format that the pipeline declares. The
	// name "" stands for the only source, or for all sinks without an output of
	// their own; dead letters go to DeadLettersSink only.
	Inputs  map[string]Stream
	Outputs map[string]Sink
	// Modules are .wasm files by name, where the pipeline's own paths are not meant.
	Modules     map[string]string
	Parallelism int // 0: as the file says
	Log         io.Writer
	// Progress is called now and then with the records read so far; may be nil.
	Progress func(recordsIn, recordsOut uint64)
}

// Stream is an input of `weir run`; the path - is standard input. Whoever opens
// it closes it. Compressed input (.gz) is decompressed.
type Stream struct {
	Path string
	Open func() (io.ReadCloser, error)
}

// Sink is an output of `weir run`. Writes are lines, each whole in one call,
// and come from one goroutine at a time.
type Sink struct {
	Path string
	W    io.Writer
}

// TestOptions asks for one case of `weir test`: a pipeline over given steps
// under virtual time, with parallelism 1, through the real module. Every source
// starts with no watermark; the steps happen one after the other; after the last
// the input ends, and event time goes to its end.
type TestOptions struct {
	Dir      string // the project; paths in the pipeline file are relative to it
	Pipeline string // path of the file
	Steps    []TestStep
	// Emit takes each output row in order. Line is valid during the call.
	Emit func(row TestRow)
	Log  io.Writer
}

// TestStep is one line of a case's input: a record, or a move of time.
type TestStep struct {
	// Source is a source's name, or the name of the function's input that it
	// feeds; empty: the only source.
	Source string
	// Record is the line as it stands, in the source's format; nil for a move of time.
	Record []byte
	// Watermark and Clock move event time and processing time; the zero time does not.
	Watermark, Clock time.Time
	// File and LineNumber say where the step stands, for errors.
	File       string
	LineNumber int
}

// DeadLettersSink is the name of the sink that dead letters come out of.
const DeadLettersSink = "dead_letters"

// TestRow is one output row of a test: a line of JSON and where it came out.
type TestRow struct {
	Sink     string // the sink's name
	Operator string // what the sink is fed from
	Output   string // the output's name in the module's manifest
	Main     bool   // it is the function's first output
	Line     []byte
}
