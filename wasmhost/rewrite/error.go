package rewrite

import "fmt"

// Kind says whose mistake a refusal is about.
type Kind int

const (
	// Malformed bytes are no WebAssembly module at all.
	Malformed Kind = iota + 1
	// UnsupportedFeature names a proposal beyond WebAssembly 2.0.
	UnsupportedFeature
	// UnknownImport names an import that the policy does not grant.
	UnknownImport
	// MissingExport names an export that the policy requires.
	MissingExport
	// OverLimit names a size above a limit of the policy.
	OverLimit
	// ReservedName is an export name that belongs to the host.
	ReservedName
)

var kindNames = map[Kind]string{
	Malformed:          "malformed module",
	UnsupportedFeature: "unsupported feature",
	UnknownImport:      "unknown import",
	MissingExport:      "missing export",
	OverLimit:          "over limit",
	ReservedName:       "reserved name",
}

func (k Kind) String() string { return kindNames[k] }

// Error is a refusal: what is wrong, where in the module, and the way out.
type Error struct {
	Kind   Kind
	Offset int    // byte offset in the module, -1 where no single byte is to blame
	Msg    string // what was found
	Hint   string // what to do, empty where there is nothing to say
}

func (e *Error) Error() string {
	s := e.Kind.String() + ": " + e.Msg
	if e.Offset >= 0 {
		s += fmt.Sprintf(" (at byte %d)", e.Offset)
	}
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}
