package all

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/format"
	formats "github.com/weirstream/weir/platform/format/all"
)

// columnsFormat writes typed columns.
const columnsFormat = "columns"

// formatFields are the options of formats that any connector passes on.
var formatFields = []connector.Field{
	{Name: "time_unit", Type: connector.Text, Doc: "What timestamps that are numbers count.", Choices: []string{"s", "ms", "us", "ns"}},
	{Name: "null", Type: connector.Text, Doc: "The text that stands for null in CSV; empty if left out."},
	{Name: "delimiter", Type: connector.Text, Doc: "What separates the fields of CSV; a comma if left out."},
}

func formatOptions(v connector.Values) format.Options {
	return format.Options{TimeUnit: format.Unit(v.Text("time_unit")), Null: v.Text("null"), Delimiter: v.Text("delimiter")}
}

var topicSource = connector.Spec{
	Kind: "topic source",
	Doc:  "Reads a topic; typed columns are found by name, other records are decoded by the format.",
	Fields: append([]connector.Field{
		{Name: "topic", Type: connector.Text, Public: true, Doc: "The topic, with namespace/ in front if it is another's.", Required: true},
		{Name: "format", Type: connector.Text, Doc: "How to decode records; json, or raw where the columns are those of a plain byte stream.", Choices: formats.Names()},
		{Name: "start", Type: connector.Text, Public: true, Doc: "Where to begin without a checkpoint: earliest, latest, a sequence, or a time (RFC 3339).", Default: "earliest"},
		{Name: "bounded", Type: connector.Flag, Doc: "End behind what was there at the start."},
		{Name: "on_data_lost", Type: connector.Text, Doc: "What to do when records that should follow are gone.", Default: string(connector.FailOnLoss),
			Choices: []string{string(connector.FailOnLoss), string(connector.SkipLoss)}},
	}, formatFields...),
}

var topicSink = connector.Spec{
	Kind: "topic sink",
	Doc:  "Writes a topic, in its layout.",
	Fields: append([]connector.Field{
		{Name: "topic", Type: connector.Text, Public: true, Doc: "The topic, with namespace/ in front if it is another's.", Required: true},
		{Name: "format", Type: connector.Text, Doc: "How to write records; columns if left out, or json where the layout is records.", Choices: append([]string{columnsFormat}, formats.Names()...)},
		{Name: "key", Type: connector.Text, Public: true, Doc: "The column that is the records' key; without one they go round robin."},
		{Name: "codec", Type: connector.Text, Doc: "How frames are compressed.", Default: frame.CodecNone.String(),
			Choices: []string{frame.CodecNone.String(), frame.CodecS2.String(), frame.CodecZstd.String()}},
	}, formatFields...),
}

func (env Environment) topic(ctx context.Context, name string) (jetstream.Topic, error) {
	namespace := env.Namespace
	if ns, rest, ok := strings.Cut(name, "/"); ok {
		namespace, name = ns, rest
	}
	t, err := env.Topic(ctx, namespace, name)
	if err != nil {
		return t, fmt.Errorf("find topic %s: %w", name, err)
	}
	return t, nil
}

func openTopicSource(ctx context.Context, env Environment, v connector.Values, rows *schema.Schema) (connector.Source, error) {
	topic, err := env.topic(ctx, v.Text("topic"))
	if err != nil {
		return nil, err
	}
	cfg := jetstream.SourceConfig{Topic: topic, Schema: rows, OnDataLost: connector.LostPolicy(v.Text("on_data_lost")), Log: env.Log}
	if v.Flag("bounded") {
		cfg.Bound = connector.UntilEnd
	}
	if cfg.Start, err = ParseStart(v.Text("start")); err != nil {
		return nil, mistake{err}
	}
	name := v.Text("format")
	plain := rows.Equal(schema.Raw())
	if name == "" && !plain {
		name = "json"
	}
	if name != "" && !(plain && name == "raw") {
		// Made once here so that a mistake shows now; each reader makes its own.
		if _, err := formats.NewDecoder(name, rows, formatOptions(v)); err != nil {
			return nil, mistake{err}
		}
		cfg.NewDecoder = func() format.Decoder {
			d, err := formats.NewDecoder(name, rows, formatOptions(v))
			if err != nil {
				panic(err) // the same call succeeded above
			}
			return d
		}
	}
	src, err := jetstream.NewSource(env.NATS, cfg) // it looks at nothing but cfg
	if err != nil {
		return nil, mistake{err}
	}
	return src, nil
}

// ParseStart reads where a source begins: earliest, latest, a sequence, or a time.
func ParseStart(text string) (jetstream.Start, error) {
	switch text {
	case "", string(jetstream.Earliest), "start":
		return jetstream.Start{Kind: jetstream.Earliest}, nil
	case string(jetstream.Latest), "end":
		return jetstream.Start{Kind: jetstream.Latest}, nil
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil && n > 0 {
		return jetstream.Start{Kind: jetstream.AtSequence, Sequence: n}, nil
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return jetstream.Start{Kind: jetstream.AtTime, Time: at}, nil
	}
	return jetstream.Start{}, fmt.Errorf("start %q: write earliest, latest, a sequence from 1 on, or a time such as 2026-01-02T15:04:05Z", text)
}

func openTopicSink(ctx context.Context, env Environment, v connector.Values, rows *schema.Schema, g connector.Guarantee) (connector.Sink, error) {
	topic, err := env.topic(ctx, v.Text("topic"))
	if err != nil {
		return nil, err
	}
	cfg := jetstream.SinkConfig{Topic: topic, Schema: rows, Guarantee: g, Key: v.Text("key")}
	if cfg.Codec, err = frame.ParseCodec(v.Text("codec")); err != nil {
		return nil, mistake{err}
	}
	name := v.Text("format")
	plain := rows.Equal(schema.Raw())
	if name == "" && topic.Normalize().Layout == jetstream.Records && !plain {
		name = "json"
	}
	switch {
	case plain && (name == "raw" || name == ""):
		cfg.Raw = true
	case name != "" && name != columnsFormat:
		if _, err := formats.NewEncoder(name, rows, formatOptions(v)); err != nil {
			return nil, mistake{err}
		}
		cfg.NewEncoder = func() format.Encoder {
			e, err := formats.NewEncoder(name, rows, formatOptions(v))
			if err != nil {
				panic(err) // the same call succeeded above
			}
			return e
		}
	}
	sink, err := jetstream.NewSink(env.NATS, cfg) // it looks at nothing but cfg
	if err != nil {
		return nil, mistake{err}
	}
	return sink, nil
}
