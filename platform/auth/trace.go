package auth

import "github.com/weirstream/weir/raftmeta/catalog"

// Trace says how a call is written down.
type Trace uint8

// The traces.
const (
	TraceNone     Trace = iota // it changes nothing, or is the cluster talking to itself
	TraceEach                  // a line for each call
	TraceGathered              // a line a minute for those that are alike
)

// reads are methods that need a high role and change nothing.
var reads = map[string]bool{"/weir.v1.TokenService/ListTokens": true, "/weir.v1.AuditService/ReadAudit": true}

// gathered are methods that come by thousands.
var gathered = map[string]bool{"/weir.v1.TopicService/Publish": true, "/weir.v1.TopicService/PublishFrames": true,
	"/weir.v1.FunctionService/Send": true, "/weir.v1.FunctionService/Call": true}

// TraceOf says how calls of a procedure are written down: what needs more than
// looking changes something.
func TraceOf(procedure string) Trace {
	a := AccessTo(procedure)
	switch {
	case a.Open() || a.Roles[0] != catalog.RoleDeploy && a.Roles[0] != catalog.RoleAdmin || reads[procedure]:
		return TraceNone
	case gathered[procedure]:
		return TraceGathered
	}
	return TraceEach
}
