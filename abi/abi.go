// Package abi holds the numbers and names of the contract between host and guest, and of the bytes that outlive a
// process. README.md beside it is the normative text; the packages below are its codecs. It knows nothing else of Weir:
// no pipelines, no tasks, no storage.
package abi

import "math"

// Version of the contract. The major stands in export names and magics and never changes meaning; a minor adds
// sections, capabilities and constants.
const (
	Major = 1
	Minor = 0
)

// Magics, read as little-endian u32.
const (
	MagicContainer = 0x31435257 // "WRC1"
	MagicStored    = 0x52494557 // "WEIR"
)

// StoredVersion is the version byte of a stored frame.
const StoredVersion = 1

// StoredHeader and StoredHeaderValue mark a message of the log as a stored frame; without it a message is one record.
const (
	StoredHeader      = "Weir-Frame"
	StoredHeaderValue = "1"
)

// NoTime is the time that means "none".
const NoTime = math.MinInt64

// NoCause is the value of the progress word between calls.
const NoCause = 0xffffffff

// Kinds of container.
const (
	ContainerCall     = 1
	ContainerEffects  = 2
	ContainerOpen     = 3
	ContainerOpened   = 4
	ContainerDescribe = 5
	ContainerStored   = 6
)

// SectionMustUnderstand is the flag of a section that a reader may not skip.
const SectionMustUnderstand = 1

// Sections of a call container.
const (
	CallSectionCall   = 1 // the fixed header of a call, must
	CallSectionRows   = 2 // rows of one input, must
	CallSectionCauses = 3 // the list of causes, must; left out: cause i is row i
	CallSectionSlots  = 4 // u32 slot of each row, must
	CallSectionTimes  = 5 // i64 event time of each row
	CallSectionKeys   = 6 // key columns, a row per slot, must
	CallSectionState  = 7 // values of one framed state, a row per slot, must
	CallSectionMeta   = 8 // partition, sequence and row of each row
	CallSectionKinds  = 9 // row kinds, must
)

// Sections of an effects container.
const (
	EffectsSectionResult  = 1 // how far the guest came, must
	EffectsSectionText    = 2 // why a cause failed
	EffectsSectionOutput  = 3 // rows of one output, must
	EffectsSectionCauses  = 4 // u32 cause of each row of that output, must
	EffectsSectionTimes   = 5 // i64 event time of each row of that output, must
	EffectsSectionKinds   = 6 // row kinds of that output, must
	EffectsSectionWrites  = 7 // writes of one framed state, must
	EffectsSectionChanges = 8 // timers set and deleted, must
)

// Sections of an open container.
const (
	OpenSectionFunction     = 1
	OpenSectionConfig       = 2
	OpenSectionCapabilities = 3
	OpenSectionSchemas      = 4
	OpenSectionAsset        = 5
)

// Sections of an opened container.
const (
	OpenedSectionHandle = 1
	OpenedSectionError  = 2
)

// DescribeSectionParams is the one section of a describe container: parameters as a JSON object.
const DescribeSectionParams = 1

// Sections of a stored frame's body.
const (
	StoredSectionSchema = 1
	StoredSectionRows   = 2
	StoredSectionTimes  = 3
	StoredSectionKinds  = 4
)

// Sizes of fixed parts, in bytes.
const (
	BlockHeaderSize     = 16
	BlockNodeSize       = 24
	ContainerHeaderSize = 16
	ContainerEntrySize  = 16
	StoredHeaderSize    = 32
	ExchangeHeaderSize  = 32
	CallHeaderSize      = 64
	CauseSize           = 24
	ResultSize          = 16
	OpenedHandleSize    = 8
)

// Kinds of cause.
const (
	CauseRow             = 1
	CauseEventTimer      = 2
	CauseProcessingTimer = 3
	CauseMessage         = 4 // reserved
	CauseAnswer          = 5 // reserved
	CauseEndOfInput      = 6
)

// Row kinds of a changelog.
const (
	KindInsert       = 0
	KindUpdateBefore = 1
	KindUpdateAfter  = 2
	KindDelete       = 3
)

// Status of an effects container.
const (
	StatusDone   = 0 // every cause is handled
	StatusMore   = 1 // the host calls again with the rest
	StatusFailed = 2 // the cause at index consumed failed
	StatusWants  = 3 // reserved
)

// Codes that stand with StatusFailed.
const (
	CodeUser          = 0 // the user's function returned an error
	CodeStateTooLarge = 1 // a framed state value is over its max_bytes
	CodeStateUnread   = 2 // a state value cannot be decoded
)

// Timer kinds and operations in an effects container.
const (
	TimerEvent      = 2
	TimerProcessing = 3
	TimerSet        = 0
	TimerDelete     = 1
)

// Capabilities a guest may require.
const (
	CapabilityHostedState = "hosted_state" // map and list state by import
	CapabilityPositions   = "positions"    // partition, sequence and row of each row
	CapabilityChangelog   = "changelog"    // row kinds in and out
	CapabilityNested      = "nested"       // list, struct and map columns
	CapabilityMessages    = "messages"     // reserved
	CapabilityRequests    = "requests"     // reserved
	CapabilityEgress      = "egress"       // reserved
)

// Exports of a guest.
const (
	ExportMemory     = "memory"
	ExportVersion    = "weir_abi_v1"
	ExportAlloc      = "weir_alloc"
	ExportDescribe   = "weir_describe"
	ExportOpen       = "weir_open"
	ExportCall       = "weir_call"
	ExportInitialize = "_initialize"
)

// Imports a guest may use.
const (
	ImportModule      = "weir"
	ImportLog         = "log"
	ImportMetric      = "metric"
	ImportStateGet    = "state_get"
	ImportStatePut    = "state_put"
	ImportStateDelete = "state_delete"
	ImportStateAppend = "state_append"
	ImportStateClear  = "state_clear"
	ImportStateScan   = "state_scan"
	ImportYield       = "yield" // put in by the host's rewriter only
	ImportWASI        = "wasi_snapshot_preview1"
)

// Levels of the log import.
const (
	LogDebug = 0
	LogInfo  = 1
	LogWarn  = 2
	LogError = 3
)

// Kinds of the metric import.
const (
	MetricCounter = 0 // the value is added
	MetricGauge   = 1 // the value is set
)

// StateAbsent is what state_get and state_scan answer for "no such entry"; ScanFromStart is the klen that asks for the
// first page.
const (
	StateAbsent   = -1
	ScanFromStart = -1
)

// Limits of the contract. Every refusal names the one it applied.
const (
	MaxSchemaFields     = 1024
	MaxSchemaLevels     = 16
	MaxNameBytes        = 255
	MaxDecimalPrecision = 38
	MaxBlockRows        = 1 << 24
	MaxContainerBytes   = 1 << 30
	MaxSections         = 256
	MaxStoredRawBytes   = 64 << 20
	MaxExchangeBytes    = 64 << 20
	MaxKeyBytes         = 4096
	KeyGroups           = 256
	MaxRowFieldID       = 65535

	MaxManifestBytes       = 1 << 20
	MaxFunctions           = 256
	MaxInputs              = 64
	MaxOutputs             = 64
	MaxStates              = 64
	MaxTimers              = 64
	MaxIdentifierBytes     = 63
	DefaultStateValueBytes = 64 << 10
	MaxStateValueBytes     = 1 << 20
	MaxHostedValueBytes    = 1 << 20

	AimCallBytes        = 1 << 20
	MaxCallBytes        = 8 << 20
	DefaultEffectsBytes = 8 << 20
	EffectsSlackBytes   = 64 << 10 // tables and padding of an effects container beyond max output bytes
	DefaultMemoryBytes  = 64 << 20
	MaxMemoryBytes      = 1 << 30
	DefaultCallMs       = 1000
	MaxLogBytes         = 4 << 10
	MaxMetricNameBytes  = 64
)
