package rpc

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"connectrpc.com/connect"

	"github.com/weirstream/weir/abi"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

// checkLimit bounds one check of the doctor.
const checkLimit = 30 * time.Second

// Severity says how bad a finding is.
type Severity = weirv1.Finding_Severity

// The severities.
const (
	OK      = weirv1.Finding_SEVERITY_OK
	Warning = weirv1.Finding_SEVERITY_WARNING
	Error   = weirv1.Finding_SEVERITY_ERROR
)

// Finding is what a check found.
type Finding struct {
	Severity Severity
	Text     string
	Hint     string // what to do; empty with OK
}

// Check is one thing that the doctor looks at. An error means that the check
// itself could not be made.
type Check struct {
	Name string
	Do   func(context.Context) ([]Finding, error)
}

// systemHandler answers SystemService.
type systemHandler struct{ deps Deps }

func (h *systemHandler) GetVersion(context.Context, *connect.Request[weirv1.GetVersionRequest]) (*connect.Response[weirv1.GetVersionResponse], error) {
	return connect.NewResponse(&weirv1.GetVersionResponse{
		Version: h.deps.Version, GoVersion: runtime.Version(), AbiMajor: abi.Major, AbiMinor: abi.Minor,
		ClusterId: h.deps.Node.View().Settings.ClusterID,
	}), nil
}

func (h *systemHandler) Doctor(ctx context.Context, _ *connect.Request[weirv1.DoctorRequest]) (*connect.Response[weirv1.DoctorResponse], error) {
	out := &weirv1.DoctorResponse{}
	for _, c := range h.deps.Checks {
		for _, f := range examine(ctx, c) {
			out.Findings = append(out.Findings, &weirv1.Finding{Severity: f.Severity, Check: c.Name, Text: f.Text, Hint: f.Hint})
		}
	}
	return connect.NewResponse(out), nil
}

// examine makes one check, which always comes to at least one finding.
func examine(ctx context.Context, c Check) []Finding {
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	found, err := c.Do(ctx)
	if err != nil {
		found = append(found, Finding{Severity: Error, Text: fmt.Sprintf("the check could not be made: %v", err), Hint: "look at the server's log, then call again"})
	}
	if len(found) == 0 {
		found = []Finding{{Severity: OK, Text: "nothing to find fault with"}}
	}
	return found
}
