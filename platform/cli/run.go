package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) runCommand() *cobra.Command {
	var (
		inputs, outputs, modules []string
		o                        = RunOptions{Log: a.env.Stderr}
	)
	cmd := &cobra.Command{
		Use:   "run PIPELINE",
		Short: "Run a pipeline over files, in this process, to the end of its input",
		Long: `Run a pipeline over files in this process, without a server, and exit at the end of
its input. At the end event time goes to the end of time, so every timer fires.

--input SOURCE=FILE gives a source its records, --output SINK=FILE takes those of a
sink. - is standard input or output; without a name it is the only source, or all
sinks. Compressed input is decompressed. Records that cannot be handled are told on
standard error, or written to a file by --output dead_letters=FILE.`,
		Example: `  weir run pipeline.yaml --input flights=flights.jsonl.gz --output -
  weir run pipeline.yaml --input - --output alerts=alerts.jsonl < flights.jsonl`,
		Args: names("PIPELINE"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if a.env.Local.RunBounded == nil {
				return errNotBuiltIn(cmd)
			}
			o.Pipeline = args[0]
			if _, err := os.Stat(args[0]); err != nil {
				return fmt.Errorf("read pipeline: %w", err)
			}
			if o.Inputs, err = a.streams(inputs); err != nil {
				return err
			}
			if o.Modules, err = named("--module", modules); err != nil {
				return err
			}
			files, err := a.sinks(outputs, &o)
			if err != nil {
				return err
			}
			var in, out atomic.Uint64
			o.Progress = func(i, n uint64) { in.Store(i); out.Store(n) }
			p := a.startProgress(func(elapsed time.Duration) string {
				return fmt.Sprintf("%s records in, %s out, %s", count(in.Load()), count(out.Load()), rate(in.Load(), elapsed))
			})
			err = a.env.Local.RunBounded(cmd.Context(), o)
			p.end()
			for _, f := range files {
				err = errors.Join(err, f.Close())
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&inputs, "input", "i", nil, "[SOURCE=]FILE or -; may be repeated")
	f.StringArrayVar(&outputs, "output", []string{"-"}, "[SINK=]FILE or -; may be repeated")
	f.StringArrayVar(&modules, "module", nil, "NAME=FILE.wasm instead of the pipeline's own; may be repeated")
	f.IntVar(&o.Parallelism, "parallelism", 0, "tasks a stage (0: as the file says)")
	return cmd
}

// rate is records a second.
func rate(n uint64, elapsed time.Duration) string {
	if elapsed <= 0 {
		return "-"
	}
	return count(uint64(float64(n)/elapsed.Seconds())) + "/s"
}

// split takes NAME=VALUE apart; without a name it is "".
func split(s string) (name, value string) {
	if n, v, ok := strings.Cut(s, "="); ok {
		return n, v
	}
	return "", s
}

// named reads NAME=VALUE flags where a name is needed.
func named(flag string, values []string) (map[string]string, error) {
	m := map[string]string{}
	for _, s := range values {
		n, v := split(s)
		if n == "" || v == "" {
			return nil, usageError(fmt.Errorf("%s %s has no name", flag, s), "write %s NAME=FILE", flag)
		}
		m[n] = v
	}
	return m, nil
}

// streams opens nothing yet, but refuses what is not there before anything runs.
func (a *app) streams(inputs []string) (map[string]Stream, error) {
	m := map[string]Stream{}
	stdin := false
	for _, s := range inputs {
		name, path := split(s)
		if _, twice := m[name]; twice {
			return nil, usageError(fmt.Errorf("input %q is given twice", name), "join the files first")
		}
		if path == "-" {
			if stdin {
				return nil, usageError(errors.New("two inputs read standard input"), "give one of them a file")
			}
			stdin = true
		} else if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("read input: %w", err)
		}
		m[name] = Stream{Path: path, Open: func() (io.ReadCloser, error) { return a.open(path) }}
	}
	return m, nil
}

// sinks makes the files of the outputs; the caller closes them.
func (a *app) sinks(outputs []string, o *RunOptions) ([]*os.File, error) {
	o.Outputs = map[string]Sink{}
	var files []*os.File
	for _, s := range outputs {
		name, path := split(s)
		if _, twice := o.Outputs[name]; twice {
			return files, usageError(fmt.Errorf("output %q is given twice", name), "give each sink one file")
		}
		if path == "-" {
			o.Outputs[name] = Sink{Path: path, W: a.env.Stdout}
			continue
		}
		f, err := os.Create(path)
		if err != nil {
			return files, fmt.Errorf("write output: %w", err)
		}
		files = append(files, f)
		o.Outputs[name] = Sink{Path: path, W: f}
	}
	return files, nil
}
