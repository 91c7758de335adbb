package statereader

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/key"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/format"
	jsonformat "github.com/weirstream/weir/platform/format/json"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// parseKey makes the canonical bytes of a key that a person wrote: the value of
// the one column, or a JSON list of all columns' values, or those with commas between.
func parseKey(s *schema.Schema, text string) ([]byte, error) {
	encoded, err := keyBytes(s, text)
	if err != nil {
		return nil, hint(fmt.Errorf("key %s: %w: %w", shorten(text), err, catalog.ErrInvalid), "the key is %s; several columns are a JSON list or stand with commas between, and text that begins with [ goes into a JSON list", s)
	}
	return encoded, nil
}

// maxShownKey is how much of a wrong key an error repeats.
const maxShownKey = 80

func shorten(text string) string {
	if len(text) > maxShownKey {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(text[:maxShownKey], ""))
	}
	return fmt.Sprintf("%q", text)
}

func keyBytes(s *schema.Schema, text string) ([]byte, error) {
	if len(text) > MaxKeyBytes {
		return nil, fmt.Errorf("it has %d bytes, the limit is %d", len(text), MaxKeyBytes)
	}
	values, err := keyValues(s, text)
	if err != nil {
		return nil, err
	}
	// The values become one record, read as sources read theirs.
	record := []byte{'{'}
	for i := range s.Fields {
		if i > 0 {
			record = append(record, ',')
		}
		record = append(append(jsonformat.AppendString(record, []byte(s.Fields[i].Name)), ':'), values[i]...)
	}
	record = append(record, '}')
	decoder, err := jsonformat.NewDecoder(s, format.Options{})
	if err != nil {
		return nil, err
	}
	b := batch.NewBuilder(s)
	if err := decoder.Decode(b, &format.Record{Value: record}); err != nil {
		var refused *format.Error
		if errors.As(err, &refused) && refused.Column != "" {
			for i := range s.Fields { // its reason may not say the type
				if f := &s.Fields[i]; f.Name == refused.Column {
					return nil, fmt.Errorf("column %s:%s: %s", schema.QuoteName(f.Name), f.Type, refused.Reason)
				}
			}
		}
		return nil, err
	}
	encoded := key.AppendRow(nil, b.Rows.Columns(), 0)
	if len(encoded) > key.MaxBytes {
		return nil, fmt.Errorf("it has %d bytes as a key, the limit is %d", len(encoded), key.MaxBytes)
	}
	return encoded, nil
}

// keyValues gives each column's value as JSON.
func keyValues(s *schema.Schema, text string) ([]json.RawMessage, error) {
	var values []json.RawMessage
	if strings.HasPrefix(strings.TrimSpace(text), "[") {
		if err := json.Unmarshal([]byte(text), &values); err != nil {
			return nil, errors.New("it begins with [ and is no JSON list")
		}
		if len(values) != s.Len() {
			return nil, fmt.Errorf("it has %d values, want %d: %s", len(values), s.Len(), s)
		}
		return values, nil
	}
	parts := []string{text}
	if s.Len() > 1 {
		if parts = strings.Split(text, ","); len(parts) != s.Len() {
			return nil, fmt.Errorf("it has %d values, want %d: %s", len(parts), s.Len(), s)
		}
	}
	for i, part := range parts {
		value, err := keyValue(&s.Fields[i], part)
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, nil
}

// keyValue makes JSON of a bare value, which stands without quotes.
func keyValue(f *schema.Field, text string) (json.RawMessage, error) {
	switch f.Type.Kind {
	case schema.Utf8, schema.Binary, schema.Date32, schema.Timestamp:
		return jsonformat.AppendString(nil, []byte(text)), nil
	}
	if trimmed := strings.TrimSpace(text); json.Valid([]byte(trimmed)) {
		return json.RawMessage(trimmed), nil
	}
	return nil, fmt.Errorf("column %s: want %s, have %s", f.Name, f.Type, shorten(text))
}

// rowText shows canonical key bytes of a schema as JSON: the one value, or a list of them.
func rowText(s *schema.Schema, encoded []byte) (string, error) {
	b := frame.NewBuilder(s)
	if err := key.Decode(encoded, b); err != nil {
		return "", err
	}
	record := jsonformat.NewEncoder(s).Append(nil, b.Columns(), 0)
	var values map[string]json.RawMessage
	if err := json.Unmarshal(record, &values); err != nil {
		return "", err
	}
	if s.Len() == 1 {
		return string(values[s.Fields[0].Name]), nil
	}
	out := []byte{'['}
	for i := range s.Fields {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, bytes.TrimSpace(values[s.Fields[i].Name])...)
	}
	return string(append(out, ']')), nil
}
