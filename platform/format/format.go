// Package format turns bytes of the outside world into columns and back: the
// contract of the formats, which have a folder each. A format sees one record
// at a time; where records come from and how a file is cut into them is a
// connector's business. It must not know connectors, topics or pipelines.
package format

import (
	"fmt"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/platform/batch"
)

// NoTime is the TimeMicros of a record without one.
const NoTime int64 = abi.NoTime

// Record is one record as it stands outside. A nil Key or Value is absent.
type Record struct {
	Key, Value []byte
	TimeMicros int64 // when the log took it, or NoTime
	Headers    map[string][]byte
}

// Decoder turns records into rows of the schema it was made for. It is not for
// concurrent use, and keeps nothing of a record after Decode.
type Decoder interface {
	// Decode appends the columns of one row to a builder of the decoder's schema;
	// the caller ends the row. After an error, which is a *Error, the builder is
	// as it was before.
	Decode(b *batch.Builder, rec *Record) error
}

// Encoder turns rows of the schema it was made for into records. It is not for
// concurrent use.
type Encoder interface {
	// Append appends the record of one row to dst, without a line end.
	Append(dst []byte, cols []frame.Column, row int) []byte
}

// Error says why a record cannot be decoded.
type Error struct {
	Column string // path of the column, like address.lines[]; empty: the record as a whole
	Offset int    // byte of the value where it was found
	Reason string
}

func (e *Error) Error() string {
	if e.Column == "" {
		return fmt.Sprintf("%s (byte %d)", e.Reason, e.Offset)
	}
	return fmt.Sprintf("column %q: %s (byte %d)", e.Column, e.Reason, e.Offset)
}

// Unit is what integer timestamps count.
type Unit string

// The units. NoUnit refuses integers, because guessing a unit is a silent default.
const (
	NoUnit  Unit = ""
	Seconds Unit = "s"
	Millis  Unit = "ms"
	Micros  Unit = "us"
	Nanos   Unit = "ns"
)

// Options are what a pipeline file may say of a format; each format refuses
// those it does not know.
type Options struct {
	// TimeUnit is the unit of timestamps that are numbers; text is always RFC 3339.
	TimeUnit Unit `json:"time_unit,omitempty" yaml:"time_unit"`
	// Null is the text that stands for null in CSV; empty by default.
	Null string `json:"null,omitempty" yaml:"null"`
	// Delimiter separates the fields of CSV; a comma by default.
	Delimiter string `json:"delimiter,omitempty" yaml:"delimiter"`
	// Header names the fields of CSV in their order, if they stand in another
	// order than the declared columns. A connector sets it from a file's first line.
	Header []string `json:"header,omitempty" yaml:"header"`
}

// Scale is how many decimal digits lie between the unit and microseconds:
// positive to multiply, negative to divide.
func (u Unit) Scale() (digits int, ok bool) {
	switch u {
	case Seconds:
		return 6, true
	case Millis:
		return 3, true
	case Micros:
		return 0, true
	case Nanos:
		return -3, true
	}
	return 0, false
}
