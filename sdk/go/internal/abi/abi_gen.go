// Package abi holds the numbers of the contract between host and guest (abi/README.md). It knows no code.
package abi

// Version of the contract.
const (
	Major = 1
	Minor = 0
)

// NoTime means "no time".
const NoTime = -1 << 63

// Magic begins a container.
const Magic = 0x31435257

// Kinds of containers.
const (
	KindCall = 1 + iota
	KindEffects
	KindOpen
	KindOpened
	KindDescribe
	KindStored
)

// MustUnderstand is the flag of a section that may not be skipped.
const MustUnderstand = 1

// Sections of a describe container.
const SectionParams = 1

// Sections of an open container.
const (
	SectionFunction = 1 + iota
	SectionConfig
	SectionCapabilities
	SectionSchemas
	SectionAsset
)

// Sections of an opened container.
const (
	SectionHandle = 1 + iota
	SectionOpenError
)

// Sections of a call container.
const (
	SectionCall = 1 + iota
	SectionRows
	SectionCauses
	SectionSlots
	SectionTimes
	SectionKeys
	SectionState
	SectionMeta
	SectionKinds
)

// Sections of an effects container.
const (
	SectionResult = 1 + iota
	SectionText
	SectionOutput
	SectionOutputCauses
	SectionOutputTimes
	SectionOutputKinds
	SectionStateWrites
	SectionTimers
)

// Kinds of causes.
const (
	CauseRow = 1 + iota
	CauseEventTimer
	CauseProcessingTimer
	CauseMessage
	CauseAnswer
	CauseEndOfInput
)

// Statuses of a call.
const (
	StatusDone = iota
	StatusMore
	StatusFailed
	StatusWants
)

// Codes of a failed cause.
const (
	CodeUser = iota
	CodeStateTooLarge
	CodeStateUndecodable
)

// Timer operations.
const (
	TimerSet = iota
	TimerDelete
)

// NoProgress is the progress word between calls.
const NoProgress = 0xffffffff

// Limits.
const (
	MaxSections      = 256
	MaxKeyBytes      = 4096
	MaxFramedBytes   = 1 << 20
	DefaultMaxFramed = 64 << 10
	MaxHostedBytes   = 1 << 20
	MaxLogBytes      = 4 << 10
	MaxFunctions     = 256
	MaxPerFunction   = 64
	MaxFields        = 1024
	MaxLevels        = 16
	MaxManifestBytes = 1 << 20
)
