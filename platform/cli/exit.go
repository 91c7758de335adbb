package cli

import "github.com/spf13/cobra"

// Exit codes. Scripts branch on them, so a number never changes its meaning.
const (
	ExitOK          = 0
	ExitFailure     = 1
	ExitUsage       = 2
	ExitNotFound    = 3
	ExitRefused     = 4
	ExitConflict    = 5
	ExitUnreachable = 6
	ExitDenied      = 7
	ExitInterrupted = 130
)

func exitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long: `Every command ends with one of these codes:

    0   success
    1   failure: the server or this machine could not do it
    2   usage: an unknown command or flag, a missing argument
    3   not found: no topic, module, pipeline, checkpoint or file of that name
    4   refused: a file or a value that is not valid, or a state that forbids it;
        also a test whose output differs from what is expected
    5   conflict: it exists already, or was changed by someone else meanwhile
    6   unreachable: no server answers at the address
    7   denied: no token, or one that is not good for this call, or a certificate
        that is not trusted
  130   interrupted by Ctrl-C before the work was done`,
	}
}
