package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"
)

// pipelineFile is the name that dev and test look for.
const pipelineFile = "pipeline.yaml"

func (a *app) devCommand() *cobra.Command {
	o := DevOptions{Log: a.env.Stderr}
	cmd := &cobra.Command{
		Use:   "dev [DIR]",
		Short: "Work on a project: a throw-away server that rebuilds and reapplies at every change",
		Long: `Start a throw-away server, build the project's module, push it, apply its pipeline,
and do so again at every change of a file, with the state kept. Outputs of the
pipeline and log lines of its functions appear in one stream: records on standard
output, all else on standard error. Ctrl-C ends it and leaves nothing behind.

A build that does not succeed leaves the running revision alone.`,
		Example: `  weir dev
  weir dev ./alert --topic flights=testdata/flights.jsonl
  weir dev --build 'make module.wasm'`,
		Args: atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.env.Local.RunDev == nil {
				return errNotBuiltIn(cmd)
			}
			dir, err := projectDir(args, o.Pipeline)
			if err != nil {
				return err
			}
			o.Dir = dir
			if o.Pipeline == "" {
				o.Pipeline = filepath.Join(dir, pipelineFile)
			}
			a.devEvents(&o)
			return asked(cmd.Context(), a.env.Local.RunDev(cmd.Context(), o))
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Pipeline, "pipeline", "", "pipeline file (default: DIR/"+pipelineFile+")")
	f.StringVar(&o.Build, "build", "", "command that builds the module (default: found out from the project)")
	f.StringVar(&o.Listen, "listen", "127.0.0.1:0", "address of the API; port 0 picks a free one")
	f.StringArrayVar(&o.Topics, "topic", nil, "NAME=FILE fed to a topic at the start and again when the file grows; may be repeated")
	return cmd
}

// devEvents shows what happens in colours where a person looks.
func (a *app) devEvents(o *DevOptions) {
	p := paint(a.colours(a.env.ErrTerminal))
	var mu sync.Mutex // one line at a time, whoever writes it
	o.Say = func(e DevEvent) {
		if a.quiet && e.Step != DevFailed {
			return
		}
		word := p.green(string(e.Step))
		if e.Step == DevFailed {
			word = p.red(string(e.Step))
		}
		took := ""
		if e.Took > 0 {
			took = p.dim(" (" + span(e.Took) + ")")
		}
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(a.env.Stderr, "%s %s%s\n", word, e.Text, took)
	}
	o.Output = func(topic string, record []byte) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(a.env.Stdout, "%s %s\n", a.out().bold(topic), record)
	}
	o.Guest = func(level, operator, text string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(a.env.Stderr, "%s %s %s\n", p.dim(operator), p.yellow(level), text)
	}
}

// projectDir is the one argument or the present folder; it must have a pipeline file.
func projectDir(args []string, pipeline string) (string, error) {
	dir := "."
	if len(args) == 1 {
		dir = args[0]
	}
	if pipeline != "" {
		return dir, nil
	}
	if _, err := os.Stat(filepath.Join(dir, pipelineFile)); err != nil {
		return "", fail(ExitNotFound, fmt.Errorf("no %s in %s", pipelineFile, dir),
			"name another folder, another file by --pipeline, or start a project with: weir init --lang go DIR")
	}
	return dir, nil
}
