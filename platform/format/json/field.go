package json

import "github.com/weirstream/weir/platform/format"

// Finder finds one member of JSON objects without decoding the rest. It is not
// for concurrent use.
type Finder struct {
	scanner
	name string
}

// NewFinder finds the top-level member of a name.
func NewFinder(name string) *Finder { return &Finder{name: name} }

// Find checks that a record is one JSON object and gives the member as text: a
// string's own text, anything else as it is written. ok is false if the member
// is missing or null. The text is valid until the next call, or as long as record.
func (f *Finder) Find(record []byte) (text []byte, ok bool, err error) {
	f.src, f.pos = record, 0
	if c := f.blanks(); c != '{' {
		if err := f.skip(0); err != nil {
			return nil, false, err
		}
		return nil, false, &format.Error{Reason: "want an object, have " + what(c)}
	}
	from, to := 0, 0
	err = f.members(0, func(name []byte) error {
		wanted := f.name == string(name)
		start := f.pos
		err := f.skip(1)
		if wanted {
			from, to = start, f.pos // the last of equal names counts
		}
		return err
	})
	if err == nil {
		err = f.end()
	}
	if err != nil || from == to || string(record[from:to]) == "null" {
		return nil, false, err
	}
	if record[from] != '"' {
		return record[from:to], true, nil
	}
	f.pos = from
	text, _, err = f.text()
	return text, err == nil, err
}

// Check says why a text is not one JSON value; nil if it is.
func Check(text []byte) error {
	s := scanner{src: text}
	if err := s.skip(0); err != nil {
		return err
	}
	return s.end()
}
