package cli

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

// readBuffer is how much output is gathered before it is written.
const readBuffer = 64 << 10

func (a *app) topicRead() *cobra.Command {
	var (
		from       string
		untilEnd   bool
		limit      uint64
		partitions []uint
		o          outputFormat
	)
	cmd := &cobra.Command{
		Use: "read NAME", Short: "Read a topic's records",
		Long: `Read a topic's records, in order within each partition, until Ctrl-C, --until-end
or -n. Reading takes nothing away.

  -o value   each value on a line of its own (the default)
  -o json    one JSON object a line: partition, sequence, row, time, key, headers, value.
             A value that is JSON stands as JSON, other text as a string; bytes that are
             no UTF-8 stand in base 64 under key_base64 and value_base64
  -o raw     the bytes of the values and nothing between them`,
		Example: `  weir topic read alerts --from start
  weir topic read alerts --from start --until-end -o json | jq .value
  weir topic read alerts --from 1200 -n 10`,
		Args:              names("NAME"),
		ValidArgsFunction: a.completeName(topicNames),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			req := &weirv1.ReadRequest{Namespace: a.namespace, Topic: args[0], UntilEnd: untilEnd, Limit: limit}
			for _, p := range partitions {
				req.Partitions = append(req.Partitions, uint32(p))
			}
			switch from {
			case "start":
				req.From = &weirv1.ReadRequest_Start{Start: true}
			case "end":
				req.From = &weirv1.ReadRequest_End{End: true}
			default:
				n, err := strconv.ParseUint(from, 10, 64)
				if err != nil {
					return usageError(fmt.Errorf("--from %s is neither start, end nor a sequence", from), "weir topic info %s shows the sequences", args[0])
				}
				req.From = &weirv1.ReadRequest_Sequence{Sequence: n}
			}
			return a.readTopic(cmd, c, req, o)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&from, "from", "end", "start, end (only new records), or a sequence of the stream")
	f.BoolVar(&untilEnd, "until-end", false, "stop at what was last when the command began")
	f.Uint64VarP(&limit, "limit", "n", 0, "stop after so many records (0: no limit)")
	f.UintSliceVar(&partitions, "partition", nil, "only these partitions")
	outputFlag(cmd, &o, formatValue, formatJSON, formatRaw)
	return cmd
}

func (a *app) readTopic(cmd *cobra.Command, c *clients, req *weirv1.ReadRequest, o outputFormat) error {
	s, err := c.topics.Read(cmd.Context(), connect.NewRequest(req))
	if err != nil {
		return fmt.Errorf("read topic %q: %w", req.GetTopic(), err)
	}
	defer s.Close()
	w := bufio.NewWriterSize(a.env.Stdout, readBuffer)
	var line []byte
	for s.Receive() {
		for _, r := range s.Msg().GetRecords() {
			line = appendRecord(line[:0], r, o)
			if _, err := w.Write(line); err != nil {
				return fmt.Errorf("write records of topic %q: %w", req.GetTopic(), err)
			}
		}
		// A reader of a quiet topic wants each record as it comes.
		if err := w.Flush(); err != nil {
			return fmt.Errorf("write records of topic %q: %w", req.GetTopic(), err)
		}
	}
	if err := s.Err(); err != nil {
		err = fmt.Errorf("read topic %q: %w", req.GetTopic(), err)
		if req.GetUntilEnd() || req.GetLimit() > 0 {
			return err // Ctrl-C is not the end that was asked for
		}
		return asked(cmd.Context(), err)
	}
	return nil
}

func appendRecord(b []byte, r *weirv1.Record, o outputFormat) []byte {
	value := r.Value
	if r.GetJson() != "" {
		value = []byte(r.GetJson())
	}
	switch o {
	case formatRaw:
		return append(b, value...)
	case formatJSON:
		b = append(b, fmt.Sprintf(`{"partition":%d,"sequence":%d,"row":%d,"time":`, r.GetPartition(), r.GetSequence(), r.GetRow())...)
		if r.GetTime() == nil {
			b = append(b, "null"...)
		} else {
			b = appendText(b, r.GetTime().AsTime().UTC().Format(time.RFC3339Nano))
		}
		b = appendBytes(b, "key", r.Key)
		b = appendHeaders(b, r.GetHeaders())
		b = appendBytes(b, "value", value)
		return append(b, '}', '\n')
	}
	return append(append(b, value...), '\n')
}

// appendHeaders writes headers in the order of their names.
func appendHeaders(b []byte, headers map[string][]byte) []byte {
	b = append(b, `,"headers":{`...)
	for i, name := range sortedKeys(headers) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, name)
		b = append(b, ':')
		if v := headers[name]; utf8.Valid(v) {
			b = appendText(b, string(v))
		} else {
			b = appendText(b, base64.StdEncoding.EncodeToString(v))
		}
	}
	return append(b, '}')
}

// appendBytes writes a key or a value readably: null if there is none, a value
// that is JSON as it is, text as a string, other bytes in base 64 under a name that says so.
func appendBytes(b []byte, name string, v []byte) []byte {
	b = append(b, ',')
	switch {
	case v == nil:
		return append(appendText(b, name), ":null"...)
	case name == "value" && json.Valid(v):
		b = append(appendText(b, name), ':')
		if bytes.IndexByte(v, '\n') < 0 {
			return append(b, v...)
		}
		var one bytes.Buffer
		if json.Compact(&one, v) != nil { // cannot be: the text is valid
			return append(b, "null"...)
		}
		return append(b, one.Bytes()...)
	case utf8.Valid(v):
		return appendText(append(appendText(b, name), ':'), string(v))
	}
	return appendText(append(appendText(b, name+"_base64"), ':'), base64.StdEncoding.EncodeToString(v))
}

// readable shows bytes to a person.
func readable(v []byte) string {
	switch {
	case v == nil:
		return "(none)"
	case utf8.Valid(v):
		return string(v)
	}
	return fmt.Sprintf("%x", v)
}
