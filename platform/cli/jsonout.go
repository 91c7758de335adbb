package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// outputFormat is what -o says.
type outputFormat string

const (
	formatTable outputFormat = "table"
	formatJSON  outputFormat = "json"
	formatValue outputFormat = "value"
	formatRaw   outputFormat = "raw"
)

// outputFlag adds -o with the formats a command has; the first is the default.
func outputFlag(cmd *cobra.Command, to *outputFormat, formats ...outputFormat) {
	*to = formats[0]
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = string(f)
	}
	cmd.Flags().VarP(&formatFlag{to, names}, "output", "o", "output: "+strings.Join(names, ", "))
	complete := cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc("output", complete); err != nil {
		panic(err) // the flag was added two lines above
	}
}

type formatFlag struct {
	to    *outputFormat
	names []string
}

func (f *formatFlag) String() string { return string(*f.to) }
func (f *formatFlag) Type() string   { return "format" }
func (f *formatFlag) Set(s string) error {
	for _, n := range f.names {
		if n == s {
			*f.to = outputFormat(s)
			return nil
		}
	}
	return &failure{exit: ExitUsage, text: "want one of " + strings.Join(f.names, ", ")}
}

// printJSON writes a message as indented JSON. Unlike protobuf's own mapping,
// 64-bit integers are numbers and enums short words, so that jq can compare them.
func printJSON(w io.Writer, m proto.Message) error {
	return indent(w, appendMessage(nil, m.ProtoReflect()))
}

// printJSONList writes messages as one JSON array.
func printJSONList[M proto.Message](w io.Writer, list []M) error {
	b := []byte{'['}
	for i, m := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendMessage(b, m.ProtoReflect())
	}
	return indent(w, append(b, ']'))
}

// printJSONLine writes a message as one line, for streams.
func printJSONLine(w io.Writer, m proto.Message) error {
	_, err := w.Write(append(appendMessage(nil, m.ProtoReflect()), '\n'))
	return err
}

func indent(w io.Writer, b []byte) error {
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		return err
	}
	out.WriteByte('\n')
	_, err := out.WriteTo(w)
	return err
}

// appendMessage writes every field in the order of the .proto file, unset
// ones too: a script then needs no case for a missing name.
func appendMessage(b []byte, m protoreflect.Message) []byte {
	if ts, ok := m.Interface().(*timestamppb.Timestamp); ok {
		return appendText(b, ts.AsTime().UTC().Format(time.RFC3339Nano))
	}
	b = append(b, '{')
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, string(f.Name()))
		b = append(b, ':')
		switch {
		case f.IsList():
			b = append(b, '[')
			list := m.Get(f).List()
			for j := range list.Len() {
				if j > 0 {
					b = append(b, ',')
				}
				b = appendValue(b, f, list.Get(j))
			}
			b = append(b, ']')
		case f.HasPresence() && !m.Has(f):
			b = append(b, "null"...)
		default:
			b = appendValue(b, f, m.Get(f))
		}
	}
	return append(b, '}')
}

func appendValue(b []byte, f protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return appendMessage(b, v.Message())
	case protoreflect.EnumKind:
		return appendText(b, enumWord(f.Enum(), v.Enum()))
	case protoreflect.StringKind:
		return appendText(b, v.String())
	case protoreflect.BytesKind:
		return appendText(b, base64.StdEncoding.EncodeToString(v.Bytes()))
	case protoreflect.BoolKind:
		return strconv.AppendBool(b, v.Bool())
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		if n := v.Float(); math.IsNaN(n) || math.IsInf(n, 0) {
			return append(b, "null"...)
		}
		return strconv.AppendFloat(b, v.Float(), 'g', -1, 64)
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		return strconv.AppendUint(b, v.Uint(), 10)
	default:
		return strconv.AppendInt(b, v.Int(), 10)
	}
}

// enumWord is a value's name without its type's prefix, in small letters: LAYOUT_FRAMES is frames.
func enumWord(e protoreflect.EnumDescriptor, n protoreflect.EnumNumber) string {
	v := e.Values().ByNumber(n)
	if v == nil {
		return strconv.Itoa(int(n))
	}
	name := string(v.Name())
	if zero := e.Values().ByNumber(0); zero != nil {
		name = strings.TrimPrefix(name, strings.TrimSuffix(string(zero.Name()), "UNSPECIFIED"))
	}
	return strings.ToLower(name)
}

func appendText(b []byte, s string) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return append(b, `""`...) // a string always encodes
	}
	return append(b, bytes.TrimSuffix(out.Bytes(), []byte{'\n'})...)
}
