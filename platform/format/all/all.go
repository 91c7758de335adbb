// Package all is the table of formats. It must not know how any of them works.
package all

import (
	"fmt"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/format"
	"github.com/weirstream/weir/platform/format/csv"
	"github.com/weirstream/weir/platform/format/json"
	"github.com/weirstream/weir/platform/format/raw"
)

// entry is a format that a pipeline file may name.
type entry struct {
	name    string
	decoder func(*schema.Schema, format.Options) (format.Decoder, error)
	encoder func(*schema.Schema, format.Options) (format.Encoder, error)
}

var formats = []entry{
	{"json",
		func(s *schema.Schema, o format.Options) (format.Decoder, error) { return json.NewDecoder(s, o) },
		func(s *schema.Schema, o format.Options) (format.Encoder, error) { return json.NewEncoder(s), nil }},
	{"csv",
		func(s *schema.Schema, o format.Options) (format.Decoder, error) { return csv.NewDecoder(s, o) },
		func(s *schema.Schema, o format.Options) (format.Encoder, error) { return csv.NewEncoder(s, o) }},
	{"raw",
		func(s *schema.Schema, o format.Options) (format.Decoder, error) { return raw.NewDecoder(s, o) },
		func(s *schema.Schema, o format.Options) (format.Encoder, error) { return raw.NewEncoder(s, o) }},
}

// Names lists the formats.
func Names() []string {
	names := make([]string, len(formats))
	for i := range formats {
		names[i] = formats[i].name
	}
	return names
}

// NewDecoder makes the decoder of a format.
func NewDecoder(name string, s *schema.Schema, o format.Options) (format.Decoder, error) {
	f, err := find(name)
	if err != nil {
		return nil, err
	}
	return f.decoder(s, o)
}

// NewEncoder makes the encoder of a format.
func NewEncoder(name string, s *schema.Schema, o format.Options) (format.Encoder, error) {
	f, err := find(name)
	if err != nil {
		return nil, err
	}
	return f.encoder(s, o)
}

func find(name string) (*entry, error) {
	for i := range formats {
		if formats[i].name == name {
			return &formats[i], nil
		}
	}
	return nil, fmt.Errorf("unknown format %q: have %v", name, Names())
}
