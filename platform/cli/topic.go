package cli

import (
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

func (a *app) topicCommand() *cobra.Command {
	return group("topic", "Topics: named, partitioned logs",
		`A topic is a named log in partitions. Records with the same key go to the same
partition and stay in order.`,
		a.topicCreate(), a.topicPublish(), a.topicRead(), a.topicList(), a.topicInfo(), a.topicDelete())
}

func (a *app) topicCreate() *cobra.Command {
	var (
		partitions uint32
		layout     = "frames"
		maxAge     time.Duration
		maxBytes   uint64
		o          outputFormat
		ifMissing  bool
	)
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a topic",
		Long: `Create a topic.

The layout says how records stand in the log. "frames" packs many records into
one message, which costs far less CPU a record; Weir's own clients read and write
them. "records" puts one record into a message, for readers that are plain NATS
clients. Plain NATS clients can publish to either.`,
		Example: `  weir topic create flights --partitions 8
  weir topic create alerts --partitions 4 --layout records --max-age 168h`,
		Args: names("NAME"),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			l, err := parseLayout(layout)
			if err != nil {
				return err
			}
			if maxAge < 0 {
				return usageError(fmt.Errorf("--max-age %s is negative", maxAge), "leave it out to keep records for ever")
			}
			r, err := c.topics.CreateTopic(cmd.Context(), connect.NewRequest(&weirv1.CreateTopicRequest{
				Namespace: a.namespace, Name: args[0], Partitions: partitions, Layout: l,
				MaxAgeMs: uint64(maxAge.Milliseconds()), MaxBytes: maxBytes,
			}))
			if ifMissing && connect.CodeOf(err) == connect.CodeAlreadyExists {
				a.confirm("topic %s exists already", args[0])
				return nil
			}
			if err != nil {
				return fmt.Errorf("create topic %q: %w", args[0], err)
			}
			if o == formatJSON {
				return printJSON(a.env.Stdout, r.Msg.GetTopic())
			}
			t := r.Msg.GetTopic()
			a.confirm("created topic %s: %d partitions, layout %s", t.GetName(), t.GetPartitions(), layoutWord(t.GetLayout()))
			return nil
		}),
	}
	f := cmd.Flags()
	f.Uint32Var(&partitions, "partitions", 8, "number of partitions, 1 to 256; fixed for ever")
	f.StringVar(&layout, "layout", layout, "frames (many records a message) or records (one)")
	f.DurationVar(&maxAge, "max-age", 0, "drop records older than this (0: keep for ever)")
	f.Uint64Var(&maxBytes, "max-bytes", 0, "drop the oldest records beyond this size (0: no limit)")
	f.BoolVar(&ifMissing, "if-missing", false, "succeed if the topic exists already")
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

func parseLayout(s string) (weirv1.Layout, error) {
	switch s {
	case "frames":
		return weirv1.Layout_LAYOUT_FRAMES, nil
	case "records":
		return weirv1.Layout_LAYOUT_RECORDS, nil
	}
	return 0, usageError(fmt.Errorf("unknown layout %q", s), "write --layout frames or --layout records")
}

func layoutWord(l weirv1.Layout) string { return enumWord(l.Descriptor(), l.Number()) }

func (a *app) topicList() *cobra.Command {
	var o outputFormat
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List topics",
		Long:    "List the topics of the namespace, with their layout and how long records are kept.",
		Example: "  weir topic list\n  weir topic list -o json | jq -r '.[].name'",
		Args:    names(),
		RunE: a.call(func(cmd *cobra.Command, c *clients, _ []string) error {
			r, err := c.topics.ListTopics(cmd.Context(), connect.NewRequest(&weirv1.ListTopicsRequest{Namespace: a.namespace}))
			if err != nil {
				return fmt.Errorf("list topics: %w", err)
			}
			if o == formatJSON {
				return printJSONList(a.env.Stdout, r.Msg.GetTopics())
			}
			if len(r.Msg.GetTopics()) == 0 {
				a.confirm("no topics in namespace %s; create one with: weir topic create NAME", a.namespace)
				return nil
			}
			t := newTable("NAME", ">PARTITIONS", "LAYOUT", "KEPT", "CREATED")
			for _, p := range r.Msg.GetTopics() {
				t.row(p.GetName(), fmt.Sprint(p.GetPartitions()), layoutWord(p.GetLayout()), kept(p), moment(p.GetCreated()))
			}
			return t.print(a.env.Stdout, a.out())
		}),
	}
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

func sequences(m *weirv1.GetTopicResponse) string {
	if m.GetMessages() == 0 {
		return fmt.Sprintf("none, the last was %d", m.GetLastSequence())
	}
	return fmt.Sprintf("%d to %d", m.GetFirstSequence(), m.GetLastSequence())
}

// kept says what a topic's retention is.
func kept(t *weirv1.Topic) string {
	var limits []string
	if ms := t.GetMaxAgeMs(); ms > 0 {
		limits = append(limits, period(int64(ms)))
	}
	if n := t.GetMaxBytes(); n > 0 {
		limits = append(limits, size(n))
	}
	if limits == nil {
		return "for ever"
	}
	return strings.Join(limits, ", ")
}

func (a *app) topicInfo() *cobra.Command {
	var o outputFormat
	cmd := &cobra.Command{
		Use: "info NAME", Short: "Show a topic, what it holds and who uses it",
		Long: `Show a topic: partitions, sizes, which pipelines read and write it, and a line
for the nats program that publishes to it.`,
		Example:           "  weir topic info flights\n  weir topic info flights -o json",
		Args:              names("NAME"),
		ValidArgsFunction: a.completeName(topicNames),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			r, err := c.topics.GetTopic(cmd.Context(), connect.NewRequest(&weirv1.GetTopicRequest{Namespace: a.namespace, Name: args[0]}))
			if err != nil {
				return fmt.Errorf("get topic %q: %w", args[0], err)
			}
			if o == formatJSON {
				return printJSON(a.env.Stdout, r.Msg)
			}
			m, t := r.Msg, r.Msg.GetTopic()
			err = pairs(a.env.Stdout, a.out(),
				"name", t.GetName(),
				"layout", layoutWord(t.GetLayout()),
				"partitions", fmt.Sprint(t.GetPartitions()),
				"kept", kept(t),
				"messages", count(m.GetMessages()),
				"size", size(m.GetBytes()),
				"sequences", sequences(m),
				"stream", fmt.Sprintf("%s (incarnation %d)", t.GetStream(), t.GetIncarnation()),
				"created", moment(t.GetCreated()),
				"read by", strings.Join(m.GetReadBy(), ", "),
				"written by", strings.Join(m.GetWrittenBy(), ", "),
				"publish by", orDefault(m.GetPublishExample(), "weir topic publish "+t.GetName()+"; the nats program needs a server with --nats-listen ADDRESS"),
			)
			if err != nil || len(m.GetPartitions()) == 0 {
				return err
			}
			fmt.Fprintln(a.env.Stdout)
			parts := newTable(">PARTITION", ">MESSAGES", ">LAST SEQUENCE")
			for _, p := range m.GetPartitions() {
				parts.row(fmt.Sprint(p.GetPartition()), count(p.GetMessages()), fmt.Sprint(p.GetLastSequence()))
			}
			return parts.print(a.env.Stdout, a.out())
		}),
	}
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

func (a *app) topicDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Aliases: []string{"rm"}, Short: "Delete a topic and all its records",
		Long:              "Delete a topic and all its records. A topic that a pipeline uses is refused.",
		Example:           "  weir topic delete flights",
		Args:              names("NAME"),
		ValidArgsFunction: a.completeName(topicNames),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			if _, err := c.topics.DeleteTopic(cmd.Context(), connect.NewRequest(&weirv1.DeleteTopicRequest{Namespace: a.namespace, Name: args[0]})); err != nil {
				return fmt.Errorf("delete topic %q: %w", args[0], err)
			}
			a.confirm("deleted topic %s", args[0])
			return nil
		}),
	}
}
