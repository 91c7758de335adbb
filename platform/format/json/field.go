package json

import "github.com/weirstream/weir/platform/format"

// Finder finds one member of JSON objects without decoding the rest. It is not
// for concurrent use.
type Finder struct {
	scanner
	path     []string
	from, to int // of the member's value in the record; equal: it is missing
}

// NewFinder finds the top-level member of a name; with more names, the member of
// the object that is found so far.
func NewFinder(path ...string) *Finder { return &Finder{path: path} }

// Find checks that a record is one JSON object and gives the member as text: a
// string's own text, anything else as it is written. ok is false if the member
// is missing or null. The text is valid until the next call, or as long as record.
func (f *Finder) Find(record []byte) (text []byte, ok bool, err error) {
	text, ok, err = f.FindRaw(record)
	if err != nil || !ok || text[0] != '"' {
		return text, ok, err
	}
	return f.Text(), true, nil
}

// Text is the text of the string that FindRaw found, without quotes and escapes.
// It is valid until the next call, or as long as the record.
func (f *Finder) Text() []byte {
	f.pos = f.from
	text, _, _ := f.text() // it was read without an error before
	return text
}

// FindRaw is Find that gives a string as it is written, in its quotes; Text gives its text.
func (f *Finder) FindRaw(record []byte) (text []byte, ok bool, err error) {
	f.src, f.pos, f.from, f.to = record, 0, 0, 0
	if c := f.blanks(); c != '{' {
		if err := f.skip(0); err != nil {
			return nil, false, err
		}
		return nil, false, &format.Error{Reason: "want an object, have " + what(c)}
	}
	if err = f.find(0); err == nil {
		err = f.end()
	}
	if err != nil || f.from == f.to || string(record[f.from:f.to]) == "null" {
		return nil, false, err
	}
	return record[f.from:f.to], true, nil
}

// find reads an object at its brace, the level-th of the path.
func (f *Finder) find(level int) error {
	return f.members(level, func(name []byte) error {
		if f.path[level] != string(name) {
			return f.skip(level + 1)
		}
		f.from, f.to = 0, 0 // the last of equal names counts
		if level+1 < len(f.path) && f.at('{') {
			return f.find(level + 1)
		}
		start := f.pos
		err := f.skip(level + 1)
		if level+1 == len(f.path) {
			f.from, f.to = start, f.pos
		}
		return err
	})
}

// Check says why a text is not one JSON value; nil if it is.
func Check(text []byte) error {
	s := scanner{src: text}
	if err := s.skip(0); err != nil {
		return err
	}
	return s.end()
}
