package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

func (a *app) backupCommand() *cobra.Command {
	return group("backup", "Backups: all that a cluster knows, in one file",
		`A backup holds namespaces with their limits, tokens (their hashes), secrets (as they are
sealed), modules, what topics are called and where their streams are, pipelines, and a
savepoint of each. The records of topics are NATS's and not in it. Its file opens no
door by itself, but keep it as you keep the cluster's data.`,
		a.backupCreate(), a.backupRestore(), a.backupInfo())
}

// only is the one namespace that a command is about: --namespace, if somebody wrote it.
// The environment's default does not narrow a backup in silence.
func (a *app) only(cmd *cobra.Command) string {
	if cmd.Flags().Changed("namespace") {
		return a.namespace
	}
	return ""
}

func (a *app) backupCreate() *cobra.Command {
	var (
		r weirv1.CreateBackupRequest
		o outputFormat
	)
	cmd := &cobra.Command{
		Use: "create FILE|-", Short: "Write a backup of the cluster into a file or a pipe",
		Long: `Write a backup of the whole cluster, or with --namespace of one namespace, into a new
file (an archive, tar in zstd) or with - to standard output. A savepoint is taken of
each pipeline; pipelines go on meanwhile. What they publish behind it is published
again by a pipeline that is restored: to move a cluster, say --stop.`,
		Example: "  weir backup create weir-$(date +%F).backup\n  weir backup create - | ssh other 'cat > weir.backup'\n  weir backup create move.backup --stop\n  weir backup create team.backup --namespace team --all-savepoints",
		Args:    names("FILE|-"),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			if args[0] == "-" && o == formatJSON {
				return usageError(errors.New("-o json and - would share standard output"), "name a file, or leave -o json out")
			}
			r.OnlyNamespace = a.only(cmd)
			s, err := c.backups.CreateBackup(cmd.Context(), connect.NewRequest(&r))
			if err != nil {
				return fmt.Errorf("create backup: %w", err)
			}
			defer s.Close()
			var (
				doing   atomic.Value
				summary *weirv1.BackupSummary
			)
			doing.Store("creating a backup")
			in := &received{next: func() ([]byte, error) {
				for s.Receive() {
					m := s.Msg()
					if text := m.GetDoing(); text != "" {
						doing.Store(text)
					}
					if m.GetSummary() != nil {
						summary = m.GetSummary()
					}
					if len(m.GetData()) > 0 {
						return m.GetData(), nil
					}
				}
				switch err := s.Err(); {
				case err != nil:
					return nil, err
				case summary == nil:
					return nil, errors.New("the server ended the backup before it was whole")
				}
				return nil, io.EOF
			}}
			p := a.startProgress(func(elapsed time.Duration) string { return waiting(doing.Load().(string))(elapsed) })
			err = a.writeBackup(args[0], in)
			p.end()
			if err != nil {
				return fmt.Errorf("create backup: %w", err)
			}
			a.warn(summary.GetWarnings())
			if o == formatJSON {
				return printJSON(a.env.Stdout, summary)
			}
			a.confirm("backup of cluster %s in %s, %s: %s", summary.GetCluster(), args[0], size(uint64(in.count)), contents(summary))
			if r.GetStop() {
				a.confirm("pipelines are stopped; to go on here instead: weir pipeline resume NAME")
			}
			return nil
		}),
	}
	flags := cmd.Flags()
	flags.BoolVar(&r.NoSavepoints, "no-savepoints", false, "names alone: restored pipelines begin without state")
	flags.BoolVar(&r.AllSavepoints, "all-savepoints", false, "also the savepoints that are kept (weir savepoint list)")
	flags.BoolVar(&r.Stop, "stop", false, "stop the pipelines first, so that restored ones go on exactly where they ended")
	flags.BoolVar(&r.Incomplete, "incomplete", false, "leave out the state of pipelines that cannot have a savepoint, with a warning, instead of refusing")
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

// writeBackup writes a new file for its owner alone, or standard output. A file that
// could not be written whole is taken away again.
func (a *app) writeBackup(name string, in io.Reader) (err error) {
	if name == "-" {
		_, err := io.Copy(a.env.Stdout, in)
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fail(ExitConflict, err, "choose another name, or take the file away")
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(f, in)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		if removed := os.Remove(name); removed != nil {
			return errors.Join(err, removed)
		}
	}
	return err
}

// warn shows what the server warns of.
func (a *app) warn(warnings []string) {
	for _, w := range warnings {
		fmt.Fprintf(a.env.Stderr, "%s %s\n", a.errs().yellow("warning:"), w)
	}
}

// contents counts what is in a backup.
func contents(s *weirv1.BackupSummary) string {
	return fmt.Sprintf("%d namespaces, %d tokens, %d secrets, %d modules, %d topics, %d pipelines, %d savepoints",
		s.GetNamespaces(), s.GetTokens(), s.GetSecrets(), s.GetModules(), s.GetTopics(), s.GetPipelines(), s.GetSavepoints())
}

func (a *app) backupRestore() *cobra.Command {
	var (
		first weirv1.RestoreBackupRequest
		o     outputFormat
	)
	cmd := &cobra.Command{
		Use: "restore FILE|-", Short: "Make what is in a backup, in another cluster",
		Long: `Make what is in a backup, in a cluster that has nothing of the same names. All of the
file is verified and tried first; if anything speaks against it, nothing is changed.
Topics are bound to their streams where NATS has them, and get empty ones elsewhere.
Pipelines are there stopped: the output says which ran, and which positions do not hold.
The old cluster must not run any more if both use the same NATS.`,
		Example: "  weir backup restore weir.backup --dry-run\n  weir backup restore weir.backup\n  ssh old weir backup create - --stop | weir backup restore -\n  weir backup restore weir.backup --namespace team --without-secrets",
		Args:    names("FILE|-"),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			in, total, err := a.openBackup(args[0])
			if err != nil {
				return fmt.Errorf("restore backup: %w", err)
			}
			defer in.Close()
			first.OnlyNamespace = a.only(cmd)
			s := c.backups.RestoreBackup(cmd.Context())
			var sent atomic.Int64
			p := a.startProgress(func(elapsed time.Duration) string {
				what := "restoring " + args[0] + ", " + size(uint64(sent.Load()))
				if total > 0 {
					what += " of " + size(uint64(total))
				}
				return waiting(what)(elapsed)
			})
			defer p.end()
			buf := make([]byte, transferPiece)
			for message := &first; ; message = new(weirv1.RestoreBackupRequest) {
				n, err := io.ReadFull(in, buf)
				message.Data = buf[:n]
				if n > 0 || message == &first {
					if serr := s.Send(message); serr != nil {
						break // the answer says why
					}
					sent.Add(int64(n))
				}
				if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
					break
				}
				if err != nil {
					return fmt.Errorf("restore backup: read %s: %w", args[0], err)
				}
			}
			r, err := s.CloseAndReceive()
			p.end()
			if err != nil {
				return fmt.Errorf("restore backup: %w", err)
			}
			if o == formatJSON {
				return printJSON(a.env.Stdout, r.Msg)
			}
			return a.printRestored(r.Msg)
		}),
	}
	flags := cmd.Flags()
	flags.BoolVar(&first.DryRun, "dry-run", false, "verify and try all of it, and change nothing")
	flags.BoolVar(&first.WithoutSecrets, "without-secrets", false, "leave secrets out; they open only with the key file of the old cluster")
	flags.StringVar(&first.Positions, "positions", "keep", "where pipelines begin whose source topics are not those that were backed up: keep (data_lost on resume, unless the source skips) or start")
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

// openBackup opens a file or standard input, and tells its size if that is known.
func (a *app) openBackup(name string) (io.ReadCloser, int64, error) {
	if name == "-" {
		return io.NopCloser(a.env.Stdin), 0, nil
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fail(ExitNotFound, err, "name what weir backup create wrote")
	}
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

func (a *app) printRestored(r *weirv1.RestoreBackupResponse) error {
	t := newTable("KIND", "NAMESPACE", "NAME", "DONE", "NOTE")
	for _, e := range r.GetEntries() {
		t.row(e.GetKind(), dash(e.GetNamespace()), dash(e.GetName()), e.GetDone(), dash(e.GetNote()))
	}
	if err := t.print(a.env.Stdout, a.out()); err != nil {
		return err
	}
	a.warn(r.GetWarnings())
	for _, p := range r.GetResume() {
		if len(p.GetLost()) > 0 {
			a.warn([]string{fmt.Sprintf("pipeline %s/%s, when resumed, ends in data_lost unless its source says on_data_lost: skip: %s",
				p.GetNamespace(), p.GetName(), strings.Join(p.GetLost(), "; "))})
		}
	}
	if r.GetDryRun() {
		a.confirm("dry run: all of it fits, and nothing was changed")
		return nil
	}
	a.confirm("restored the backup of cluster %s of %s: %s", r.GetBackup().GetCluster(), moment(r.GetBackup().GetCreated()), contents(r.GetBackup()))
	if len(r.GetResume()) > 0 {
		a.confirm("pipelines that ran are stopped here; start them by:")
	}
	for _, p := range r.GetResume() {
		command := "  weir pipeline resume " + p.GetName()
		if p.GetNamespace() != DefaultNamespace {
			command += " --namespace " + p.GetNamespace()
		}
		a.confirm("%s", command)
	}
	return nil
}
