package csv

import (
	"bytes"
	"errors"

	"github.com/weirstream/weir/platform/format"
)

// ScanRecords is a bufio.SplitFunc that cuts a file into rows. A line end within
// quotes belongs to its row; the one behind a row is left out, and so are empty lines.
func ScanRecords(data []byte, atEOF bool) (advance int, token []byte, err error) {
	start := 0
	for start < len(data) && (data[start] == '\n' || data[start] == '\r') {
		start++
	}
	for i := start; i < len(data); {
		n := bytes.IndexAny(data[i:], "\"\n")
		if n < 0 {
			break
		}
		i += n + 1
		if data[i-1] == '\n' {
			return i, trimEnd(data[start:i]), nil
		}
		n = bytes.IndexByte(data[i:], '"')
		if n < 0 {
			break
		}
		i += n + 1
	}
	if !atEOF || start == len(data) {
		return start, nil, nil // ask for more; leading line ends are done with
	}
	return len(data), trimEnd(data[start:]), nil
}

// ParseHeader reads a row of names.
func ParseHeader(row []byte, o format.Options) ([]string, error) {
	d := Decoder{delimiter: ','}
	if o.Delimiter != "" {
		d.delimiter = o.Delimiter[0]
	}
	row = bytes.TrimPrefix(trimEnd(row), []byte("\xef\xbb\xbf")) // a byte-order mark, as spreadsheets write it
	var names []string
	for pos := 0; pos <= len(row); {
		field, _, next, err := d.field(row, pos)
		if err != nil {
			return nil, err
		}
		if names = append(names, string(field)); len(names) > MaxFields {
			return nil, errors.New("the header has too many fields")
		}
		pos = next
	}
	return names, nil
}
