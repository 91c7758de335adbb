package wire

import (
	"encoding/binary"
	"errors"
	"strconv"

	"github.com/weirstream/weir/sdk/go/internal/abi"
)

const (
	containerHeader = abi.ContainerHeaderSize
	sectionEntry    = abi.SectionSize
)

var kindNames = [...]string{"?", "call", "effects", "open", "opened", "describe", "stored body"}

// KindName names a kind of container in an error.
func KindName(kind uint16) string {
	if int(kind) < len(kindNames) {
		return kindNames[kind]
	}
	return "container of kind " + strconv.Itoa(int(kind))
}

type section struct {
	id     uint16
	index  uint32
	offset uint32
	length uint32
}

// Container is a parsed table of sections over bytes that it does not own.
type Container struct {
	data     []byte
	sections []section
}

// Parse reads the table of a container of the given kind. known has a bit for each section id the caller understands; upgrade names the
// side that is too old when a section beyond them must be understood.
func (c *Container) Parse(data []byte, kind uint16, known uint64, upgrade string) error {
	name := KindName(kind)
	if len(data) < containerHeader {
		return errors.New("read " + name + ": " + strconv.Itoa(len(data)) + " bytes are too few for a container")
	}
	if binary.LittleEndian.Uint32(data) != abi.Magic {
		return errors.New("read " + name + ": wrong magic")
	}
	size := binary.LittleEndian.Uint32(data[4:])
	if uint64(size) > uint64(len(data)) || size%8 != 0 || size < containerHeader {
		return errors.New("read " + name + ": size " + strconv.Itoa(int(size)) + " does not fit its " + strconv.Itoa(len(data)) + " bytes")
	}
	if k := binary.LittleEndian.Uint16(data[8:]); k != kind {
		return errors.New("read " + name + ": it is a container of kind " + strconv.Itoa(int(k)))
	}
	n := int(binary.LittleEndian.Uint16(data[10:]))
	table := uint32(containerHeader + n*sectionEntry)
	if n > abi.MaxSections || table > size {
		return errors.New("read " + name + ": " + strconv.Itoa(n) + " sections; the limit is " + strconv.Itoa(abi.MaxSections))
	}
	c.data = data[:size]
	c.sections = c.sections[:0]
	for i := range n {
		e := data[containerHeader+i*sectionEntry:]
		s := section{
			id:     binary.LittleEndian.Uint16(e),
			index:  binary.LittleEndian.Uint32(e[4:]),
			offset: binary.LittleEndian.Uint32(e[8:]),
			length: binary.LittleEndian.Uint32(e[12:]),
		}
		if s.offset%8 != 0 || s.offset < table || uint64(s.offset)+uint64(s.length) > uint64(size) {
			return errors.New("read " + name + ": section " + strconv.Itoa(int(s.id)) + " lies outside of it")
		}
		if s.id >= 64 || known&(1<<s.id) == 0 {
			if binary.LittleEndian.Uint16(e[2:])&abi.MustUnderstand != 0 {
				return errors.New("unknown section " + strconv.Itoa(int(s.id)) + " in " + name + ": upgrade the " + upgrade)
			}
			continue
		}
		for _, o := range c.sections {
			if o.id == s.id && o.index == s.index {
				return errors.New("read " + name + ": section " + strconv.Itoa(int(s.id)) + " stands twice")
			}
		}
		c.sections = append(c.sections, s)
	}
	return nil
}

// Find returns the body of a section.
func (c *Container) Find(id uint16, index uint32) ([]byte, bool) {
	for i := range c.sections {
		if s := &c.sections[i]; s.id == id && s.index == index {
			return c.data[s.offset : s.offset+s.length : s.offset+s.length], true
		}
	}
	return nil, false
}

// Each calls f for every section of one id.
func (c *Container) Each(id uint16, f func(index uint32, body []byte) error) error {
	for _, s := range c.sections {
		if s.id == id {
			if err := f(s.index, c.data[s.offset:s.offset+s.length]); err != nil {
				return err
			}
		}
	}
	return nil
}
