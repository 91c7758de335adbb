package cli

import (
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

func (a *app) auditCommand() *cobra.Command {
	var (
		since  time.Duration
		follow bool
		o      outputFormat
	)
	cmd := &cobra.Command{
		Use: "audit", Short: "Show who changed what",
		Long: `Show the calls that changed something, or tried to: when, who (a token's id, or
loopback), what, on what, how it went, from where. The oldest come first; with -f
others follow until Ctrl-C. Publishing is gathered: a line a minute, with the number
of calls.

Each controller keeps the calls that it executed, which are those of the time when it
led; ask each by --server.`,
		Example: "  weir audit --since 1h\n  weir audit -f\n  weir audit --since 24h -o json | jq 'select(.outcome != \"ok\")'",
		Args:    names(),
		RunE: a.call(func(cmd *cobra.Command, c *clients, _ []string) error {
			q := &weirv1.ReadAuditRequest{Follow: follow}
			if since < 0 {
				return usageError(fmt.Errorf("--since %s is below zero", since), "write it like --since 1h")
			}
			if since > 0 {
				q.Since = timestamppb.New(time.Now().Add(-since))
			}
			s, err := c.audit.ReadAudit(cmd.Context(), connect.NewRequest(q))
			if err != nil {
				return fmt.Errorf("read the audit log: %w", err)
			}
			defer s.Close()
			for s.Receive() {
				for _, e := range s.Msg().GetEntries() {
					if err := a.printAudit(e, o); err != nil {
						return err
					}
				}
			}
			if err := s.Err(); err != nil {
				return asked(cmd.Context(), fmt.Errorf("read the audit log: %w", err))
			}
			return nil
		}),
	}
	cmd.Flags().DurationVar(&since, "since", 0, "only what is younger, like 1h (default: all that is kept)")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "wait for more until Ctrl-C")
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

// printAudit prints a line for an entry, so that following ones can come at any time.
func (a *app) printAudit(e *weirv1.AuditEntry, o outputFormat) error {
	if o == formatJSON {
		return printJSONLine(a.env.Stdout, e)
	}
	what := e.GetTarget()
	if e.GetNamespace() != "" {
		what = e.GetNamespace() + "/" + what
	}
	line := fmt.Sprintf("%s  %-10s  %-32s  %-24s  %s", moment(e.GetTime()), orDefault(e.GetWho(), "-"), e.GetMethod(), orDefault(what, "-"), e.GetOutcome())
	if e.GetRemote() != "" {
		line += "  " + e.GetRemote()
	}
	if e.GetForwardedFor() != "" {
		line += " for " + e.GetForwardedFor()
	}
	if e.GetCount() > 1 {
		line += fmt.Sprintf("  %s calls", count(uint64(e.GetCount())))
	}
	_, err := fmt.Fprintln(a.env.Stdout, line)
	return err
}
