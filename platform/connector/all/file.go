package all

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/connector/file"
	"github.com/weirstream/weir/platform/format"
	formats "github.com/weirstream/weir/platform/format/all"
	"github.com/weirstream/weir/platform/format/csv"
)

var fileSource = connector.Spec{
	Kind: "file source",
	Doc:  "Reads lines from files, which end: JSON lines, CSV or plain lines, compressed if the name ends in .gz.",
	Fields: append([]connector.Field{
		{Name: "path", Type: connector.Text, Public: true, Doc: "A file, a pattern such as logs/*.jsonl, or - for standard input.", Required: true},
		{Name: "format", Type: connector.Text, Doc: "How to decode lines; by the name's ending if left out, else json.", Choices: formats.Names()},
		{Name: "header", Type: connector.Text, Doc: "Whether the first line of CSV names the fields.", Default: "yes", Choices: []string{"yes", "no"}},
	}, formatFields...),
}

var fileSink = connector.Spec{
	Kind: "file sink",
	Doc:  "Writes lines to files that appear whole in a folder, or to one file or standard output as they come.",
	Fields: append([]connector.Field{
		{Name: "path", Type: connector.Text, Public: true, Doc: "A folder, which ends in /; or a file, or - for standard output, both with at_least_once.", Required: true},
		{Name: "format", Type: connector.Text, Doc: "How to write lines; by the name's ending if left out, else json.", Choices: formats.Names()},
		{Name: "header", Type: connector.Text, Doc: "Whether CSV begins with the names of the fields.", Default: "yes", Choices: []string{"yes", "no"}},
		{Name: "roll_bytes", Type: connector.Number, Doc: "A file in a folder is closed at this size.", Default: "8388608"},
		{Name: "roll_interval", Type: connector.Duration, Doc: "A file in a folder is closed at this age.", Default: "10s"},
	}, formatFields...),
}

// formatOf gives the format that was asked for, or that the name's ending says.
func formatOf(v connector.Values) string {
	if name := v.Text("format"); name != "" {
		return name
	}
	switch filepath.Ext(strings.TrimSuffix(v.Text("path"), ".gz")) {
	case ".csv":
		return "csv"
	case ".txt", ".log":
		return "raw"
	}
	return "json"
}

func openFileSource(_ context.Context, env Environment, v connector.Values, rows *schema.Schema) (connector.Source, error) {
	name, options := formatOf(v), formatOptions(v)
	isCSV := name == "csv"
	cfg := file.SourceConfig{
		Path: v.Text("path"), Schema: rows, Quoted: isCSV, Header: isCSV && v.Text("header") == "yes", Stdin: env.Stdin,
		NewDecoder: func(header []string) (format.Decoder, error) {
			o := options
			o.Header = header
			return formats.NewDecoder(name, rows, o)
		},
	}
	if options.Delimiter != "" {
		cfg.Comma, _ = utf8.DecodeRuneInString(options.Delimiter)
	}
	if !cfg.Header {
		if _, err := cfg.NewDecoder(nil); err != nil {
			return nil, mistake{err}
		}
	}
	return file.NewSource(cfg)
}

func openFileSink(_ context.Context, env Environment, v connector.Values, rows *schema.Schema, g connector.Guarantee) (connector.Sink, error) {
	name, options := formatOf(v), formatOptions(v)
	cfg := file.SinkConfig{
		Path: v.Text("path"), Schema: rows, Guarantee: g, Stdout: env.Stdout, Suffix: "." + name,
		RollBytes: int(v.Number("roll_bytes")), RollAfter: v.Duration("roll_interval"),
		NewEncoder: func() (format.Encoder, error) { return formats.NewEncoder(name, rows, options) },
	}
	if name == "json" {
		cfg.Suffix = ".jsonl"
	}
	e, err := cfg.NewEncoder()
	if err != nil {
		return nil, mistake{fmt.Errorf("file sink %s: %w", cfg.Path, err)}
	}
	if c, ok := e.(*csv.Encoder); ok && v.Text("header") == "yes" {
		cfg.Header = string(c.AppendHeader(nil))
	}
	return file.NewSink(cfg)
}
