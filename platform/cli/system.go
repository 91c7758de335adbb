package cli

import (
	"fmt"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/weirstream/weir/abi"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

func (a *app) doctorCommand() *cobra.Command {
	var o outputFormat
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check what pipelines rely on and say what to do about each finding",
		Long: `Check what pipelines rely on: disks, the log's durability, limits, clocks. Each
finding comes with what to do. The exit code is 1 if one of them is an error.`,
		Example: "  weir doctor\n  weir doctor -o json | jq '.[] | select(.severity == \"error\")'",
		Args:    names(),
		RunE: a.call(func(cmd *cobra.Command, c *clients, _ []string) error {
			p := a.startProgress(waiting("checking"))
			r, err := c.system.Doctor(cmd.Context(), connect.NewRequest(&weirv1.DoctorRequest{}))
			p.end()
			if err != nil {
				return fmt.Errorf("doctor: %w", err)
			}
			bad := false
			for _, f := range r.Msg.GetFindings() {
				bad = bad || f.GetSeverity() == weirv1.Finding_SEVERITY_ERROR
			}
			if o == formatJSON {
				err = printJSONList(a.env.Stdout, r.Msg.GetFindings())
			} else {
				a.printFindings(r.Msg.GetFindings())
			}
			if err == nil && bad {
				return said(ExitFailure)
			}
			return err
		}),
	}
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

func (a *app) printFindings(findings []*weirv1.Finding) {
	p := a.out()
	for _, f := range findings {
		word := p.green("ok     ")
		switch f.GetSeverity() {
		case weirv1.Finding_SEVERITY_WARNING:
			word = p.yellow("warning")
		case weirv1.Finding_SEVERITY_ERROR:
			word = p.red("error  ")
		}
		fmt.Fprintf(a.env.Stdout, "%s  %s: %s\n", word, p.bold(f.GetCheck()), f.GetText())
		if f.GetHint() != "" {
			fmt.Fprintf(a.env.Stdout, "         %s\n", f.GetHint())
		}
	}
}

func (a *app) versionCommand() *cobra.Command {
	var (
		o      outputFormat
		client bool
	)
	cmd := &cobra.Command{
		Use: "version", Short: "Show the versions of this program and of the server",
		Long:    "Show the versions of this program and of the server; only the first if no server\nanswers, which is no error.",
		Example: "  weir version\n  weir version --client\n  weir version -o json",
		Args:    names(),
		RunE: a.call(func(cmd *cobra.Command, c *clients, _ []string) error {
			var server *weirv1.GetVersionResponse
			if !client {
				r, err := c.system.GetVersion(cmd.Context(), connect.NewRequest(&weirv1.GetVersionRequest{}))
				if err != nil && !notReached(err) {
					return fmt.Errorf("get version of %s: %w", c.url, err)
				}
				if err == nil {
					server = r.Msg
				}
			}
			b := a.env.Build
			if o == formatJSON {
				j := append([]byte(`{"client":{"version":`), appendText(nil, b.Version)...)
				j = append(append(j, `,"revision":`...), appendText(nil, b.Revision)...)
				j = append(append(j, `,"go_version":`...), appendText(nil, b.Go)...)
				j = append(j, fmt.Sprintf(`,"abi_major":%d,"abi_minor":%d},"server":`, abi.Major, abi.Minor)...)
				if server == nil {
					j = append(j, "null"...)
				} else {
					j = appendMessage(j, server.ProtoReflect())
				}
				return indent(a.env.Stdout, append(j, '}'))
			}
			said := fmt.Sprintf("%s (%s, %s, abi %d.%d)", b.Version, b.Revision, b.Go, abi.Major, abi.Minor)
			if server == nil {
				return pairs(a.env.Stdout, a.out(), "client", said)
			}
			return pairs(a.env.Stdout, a.out(), "client", said,
				"server", fmt.Sprintf("%s (%s, abi %d.%d) at %s", server.GetVersion(), server.GetGoVersion(), server.GetAbiMajor(), server.GetAbiMinor(), c.url),
				"cluster", server.GetClusterId())
		}),
	}
	cmd.Flags().BoolVar(&client, "client", false, "do not ask the server")
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}
