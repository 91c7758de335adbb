package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/weirstream/weir/platform/format"
	"github.com/weirstream/weir/platform/format/csv"
	"github.com/weirstream/weir/platform/format/json"
)

// textRecord is one record of a file; its bytes are valid until the next one is read.
type textRecord struct {
	key, value []byte // a nil key is none
	line       uint64 // its first line, from 1
}

// recordReader cuts a text file into records with their keys.
type recordReader struct {
	lines     *lines
	format    string
	keyField  string
	separator string
	finder    *json.Finder
	header    []string
	keyColumn int
	row       []byte // a CSV row over several lines
	open      bool   // it is not whole yet
	first     uint64 // its first line
	line      uint64
}

func newRecordReader(l *lines, kind, keyField, separator string) *recordReader {
	return &recordReader{lines: l, format: kind, keyField: keyField, separator: separator, finder: json.NewFinder(keyField), keyColumn: -1}
}

// next gives the next record; io.EOF is the end, errLinger a pause.
func (r *recordReader) next() (textRecord, error) {
	for {
		text, err := r.lines.next()
		if errors.Is(err, io.EOF) && r.open {
			err = r.refuse(r.first, errors.New("a quote is not closed before the end"))
		}
		if err != nil {
			return textRecord{}, err
		}
		r.line++
		rec := textRecord{value: text, line: r.line}
		switch r.format {
		case "json":
			if len(bytes.TrimSpace(text)) == 0 {
				continue
			}
			rec.key, err = r.jsonKey(text)
		case "csv":
			if len(text) == 0 && !r.open {
				continue
			}
			var whole bool
			if rec.value, whole, err = r.csvRow(text); err == nil && !whole {
				continue
			}
			rec.line = r.first
			if err == nil && r.header == nil {
				if err = r.csvHeader(rec.value); err == nil {
					continue
				}
			}
			if err == nil {
				rec.key, err = r.csvKey(rec.value)
			}
		default:
			err = r.rawKey(&rec)
		}
		if err != nil {
			return textRecord{}, r.refuse(rec.line, err)
		}
		return rec, nil
	}
}

func (r *recordReader) refuse(line uint64, err error) error {
	var f *failure
	if errors.As(err, &f) || errors.Is(err, errLinger) {
		return err
	}
	hint := "correct the line, or publish text as it is with --format raw"
	return fail(ExitRefused, fmt.Errorf("line %d: %w", line, err), "%s", hint)
}

// jsonKey checks the record and finds its key.
func (r *recordReader) jsonKey(text []byte) ([]byte, error) {
	if r.keyField == "" {
		return nil, json.Check(text)
	}
	key, ok, err := r.finder.Find(text)
	if err == nil && !ok {
		err = fmt.Errorf("there is no field %q for the key", r.keyField)
	}
	return key, err
}

// csvRow gathers lines until the quotes of the row are closed; ok is false while
// they are open.
func (r *recordReader) csvRow(text []byte) (row []byte, ok bool, err error) {
	odd := bytes.Count(text, []byte{'"'})%2 == 1
	switch {
	case !r.open && !odd:
		r.first = r.line
		return text, true, nil
	case !r.open:
		r.first, r.open = r.line, true
		r.row = append(r.row[:0], text...)
		return nil, false, nil
	}
	r.row = append(append(r.row, '\n'), text...)
	if len(r.row) > maxLine {
		return nil, false, fmt.Errorf("a row is longer than %s: a quote may be open", size(maxLine))
	}
	r.open = !odd
	return r.row, odd, nil
}

// csvHeader takes the first row as names.
func (r *recordReader) csvHeader(row []byte) error {
	names, err := csv.ParseHeader(row, format.Options{})
	if err != nil {
		return err
	}
	r.header = names
	if r.keyField != "" {
		if r.keyColumn = slices.Index(names, r.keyField); r.keyColumn < 0 {
			return fmt.Errorf("the header has no field %q for the key, it has %v", r.keyField, names)
		}
	}
	return nil
}

func (r *recordReader) csvKey(row []byte) ([]byte, error) {
	fields, err := csv.ParseHeader(row, format.Options{}) // a row has the form of a header
	if err != nil {
		return nil, err
	}
	if len(fields) != len(r.header) {
		return nil, fmt.Errorf("has %d fields, the header has %d", len(fields), len(r.header))
	}
	if r.keyColumn < 0 {
		return nil, nil
	}
	return []byte(fields[r.keyColumn]), nil
}

func (r *recordReader) rawKey(rec *textRecord) error {
	if r.separator == "" {
		return nil
	}
	key, value, ok := bytes.Cut(rec.value, []byte(r.separator))
	if !ok {
		return fmt.Errorf("there is no %q between key and value", r.separator)
	}
	rec.key, rec.value = key[:len(key):len(key)], value
	return nil
}
