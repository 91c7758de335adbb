package pebble

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"
)

// clearing turns the deletion of all entries of a state into one of each that is
// in the LSM, between those that are written anew. Deletions of ranges would be
// missed by a read that asks filters first, because no key stands for them.
type clearing struct {
	db     *pebble.DB
	iter   *pebble.Iterator // what was there before; nil until it is needed
	prefix []byte           // of the rows to delete
	some   bool             // iter stands at one of them
}

// begin is for a clear; key is its row, whose part is partClear.
func (c *clearing) begin(key []byte) error {
	if c.iter == nil {
		it, err := c.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tagRow}, UpperBound: []byte{tagRow + 1}})
		if err != nil {
			return err
		}
		c.iter = it
	}
	c.prefix = append(c.prefix[:0], key...)
	c.prefix[len(c.prefix)-1] = partEntry
	c.iter.SeekPrefixGE(c.prefix)
	return c.look()
}

func (c *clearing) look() error {
	c.some = c.iter.Valid() && bytes.HasPrefix(c.iter.Key(), c.prefix)
	return c.iter.Error()
}

// upTo deletes what comes before a row that is written next; nil: all the rest.
func (c *clearing) upTo(row []byte, remove func(key []byte) error) error {
	for c.some {
		order := -1
		if row != nil {
			order = bytes.Compare(c.iter.Key(), row)
		}
		if order > 0 {
			return nil
		}
		if order < 0 {
			if err := remove(c.iter.Key()); err != nil {
				return err
			}
		}
		c.iter.Next()
		if err := c.look(); err != nil {
			return err
		}
	}
	return nil
}

func (c *clearing) close() error {
	if c.iter == nil {
		return nil
	}
	it := c.iter
	c.iter = nil
	return it.Close()
}
