package state

import "iter"

// Warmer is what a backend may offer besides: to fetch at once what is about to
// be read or changed. In memory the cache misses of a batch overlap, on a disk
// many reads become few.
type Warmer interface {
	// Warm says that the given state of these slots comes next. It changes
	// nothing that can be seen; slots may repeat.
	Warm(slots []Slot, id ID)
}

// Warm calls the backend's Warm if it has one.
func Warm(b Backend, slots []Slot, id ID) {
	if w, ok := b.(Warmer); ok {
		w.Warm(slots, id)
	}
}

// Element is an entry as a page of a scan holds it: views, as Scan yields them.
type Element struct{ Key, Value []byte }

// Pager is what a backend may offer besides: Scan without a function, which
// costs an allocation for each scan.
type Pager interface {
	// ScanPage appends to page the entries that Scan would yield, at most limit.
	// Fewer than limit means that there are no more.
	ScanPage(s Slot, id ID, after []byte, limit int, page []Element) []Element
}

// ScanPage calls the backend's ScanPage, or gathers a page by Scan.
func ScanPage(b Backend, s Slot, id ID, after []byte, limit int, page []Element) []Element {
	if p, ok := b.(Pager); ok {
		return p.ScanPage(s, id, after, limit, page)
	}
	return gather(b.Scan(s, id, after), limit, page)
}

func gather(entries iter.Seq2[[]byte, []byte], limit int, page []Element) []Element {
	if limit <= 0 {
		return page
	}
	for key, value := range entries {
		page = append(page, Element{key, value})
		if limit--; limit == 0 {
			break
		}
	}
	return page
}

// How many entries a cursor asks for: few at first, since most scans are short.
const (
	firstPage   = 16
	longestPage = 256
)

// Cursor steps through the entries of a state. Used again for one scan after
// the other it allocates nothing. As for Scan, the backend must not be written
// while it runs.
type Cursor struct {
	backend Backend
	slot    Slot
	id      ID
	page    []Element
	at      int
	limit   int
	last    bool // page is
}

// Begin starts at the first entry after the key `after`; nil: at the first.
func (c *Cursor) Begin(b Backend, s Slot, id ID, after []byte) {
	c.backend, c.slot, c.id, c.limit = b, s, id, firstPage
	c.fetch(after)
}

func (c *Cursor) fetch(after []byte) {
	c.page, c.at = ScanPage(c.backend, c.slot, c.id, after, c.limit, c.page[:0]), 0
	c.last = len(c.page) < c.limit
	c.limit = min(2*c.limit, longestPage)
}

// Next gives the next entry; false if there is none.
func (c *Cursor) Next() (key, value []byte, ok bool) {
	if c.at == len(c.page) {
		if c.last {
			return nil, nil, false
		}
		c.fetch(c.page[len(c.page)-1].Key)
		if len(c.page) == 0 {
			return nil, nil, false
		}
	}
	e := c.page[c.at]
	c.at++
	return e.Key, e.Value, true
}
