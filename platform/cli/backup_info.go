package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/platform/backup/archive"
	"github.com/weirstream/weir/raftmeta/catalog"
)

func (a *app) backupInfo() *cobra.Command {
	var o outputFormat
	cmd := &cobra.Command{
		Use: "info FILE|-", Short: "Verify a backup and show what is in it",
		Long: `Verify a backup and show what is in it: all of the file is read here and held against its
checksums, which needs no server. A damaged one is refused with the entry that is.`,
		Example: "  weir backup info weir.backup\n  weir backup info weir.backup -o json | jq -r '.pipelines[].name'",
		Args:    names("FILE|-"),
		RunE: func(_ *cobra.Command, args []string) error {
			in, _, err := a.openBackup(args[0])
			if err != nil {
				return fmt.Errorf("look into backup: %w", err)
			}
			defer in.Close()
			p := a.startProgress(waiting("reading " + args[0]))
			s, err := archive.Read(in, archive.Visit{})
			p.end()
			if errors.Is(err, catalog.ErrDamaged) || errors.Is(err, catalog.ErrNewer) {
				return fail(ExitRefused, err, "use another backup; this one cannot be restored with this build")
			}
			if err != nil {
				return fmt.Errorf("look into backup %s: %w", args[0], err)
			}
			if o == formatJSON {
				return printBackupJSON(a, s)
			}
			return a.printBackup(s)
		},
	}
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

// printBackupJSON writes header and catalog as they stand in the file, less what only a restore needs.
func printBackupJSON(a *app, s *archive.Summary) error {
	c := *s.Catalog
	c.Tokens, c.Secrets = append([]archive.Token(nil), c.Tokens...), append([]archive.Secret(nil), c.Secrets...)
	for i := range c.Tokens {
		c.Tokens[i].Hash = catalog.Digest{}
	}
	for i := range c.Secrets {
		c.Secrets[i].Sealed = nil
	}
	e := json.NewEncoder(a.env.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		*archive.Header
		Bytes int64 `json:"bytes"`
		*archive.Catalog
	}{&s.Header, s.Bytes, &c})
}

func (a *app) printBackup(s *archive.Summary) error {
	w, p, h, c := a.env.Stdout, a.out(), &s.Header, s.Catalog
	what := "all namespaces"
	if h.Namespace != "" {
		what = "namespace " + h.Namespace
	}
	if err := pairs(w, p,
		"cluster", p.bold(h.Cluster),
		"created", h.Created.Format("2006-01-02 15:04:05Z07:00"),
		"by", "weir "+h.Weir+fmt.Sprintf(", format %d", h.Version),
		"of", what,
		"size", size(uint64(max(s.Bytes, 0))),
		"tokens", fmt.Sprint(len(c.Tokens)),
		"secrets", secretsText(c.Secrets),
		"verified", "every byte",
	); err != nil {
		return err
	}
	t := newTable("KIND", "NAMESPACE", "NAME", "WHAT")
	for _, n := range c.Namespaces {
		t.row("namespace", "-", n.Name, "-")
	}
	for _, m := range c.Modules {
		t.row("module", m.Namespace, m.Name, fmt.Sprintf("%d versions, latest %s", len(m.Versions), m.Versions[len(m.Versions)-1].Digest.Short()))
	}
	for _, v := range c.Topics {
		t.row("topic", v.Namespace, v.Name, fmt.Sprintf("%d partitions, %s, stream %s, incarnation %d", v.Partitions, v.Layout, v.Stream, v.Incarnation))
	}
	for _, v := range c.Pipelines {
		t.row("pipeline", v.Namespace, v.Name, pipelineText(&v))
	}
	for _, v := range c.Savepoints {
		t.row("savepoint", v.Namespace, fmt.Sprint(v.Number), fmt.Sprintf("of %s, revision %d, checkpoint %d", v.Pipeline, v.Revision, v.Checkpoint))
	}
	fmt.Fprintln(w)
	if err := t.print(w, p); err != nil {
		return err
	}
	a.warn(h.Warnings)
	return nil
}

func secretsText(list []archive.Secret) string {
	if len(list) == 0 {
		return "0"
	}
	keys := map[string]bool{}
	var names []string
	for _, s := range list {
		if !keys[s.Key] {
			keys[s.Key] = true
			names = append(names, s.Key)
		}
	}
	return fmt.Sprintf("%d, sealed with key %s", len(list), strings.Join(names, ", "))
}

func pipelineText(p *archive.Pipeline) string {
	text := "stopped"
	if p.Running {
		text = "running"
	}
	if p.Savepoint == 0 {
		return text + ", without state: " + p.NoState
	}
	text += fmt.Sprintf(", savepoint %d", p.Savepoint)
	if p.RanOn {
		text += ", ran on behind it"
	}
	return text
}
