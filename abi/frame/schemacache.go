package frame

import (
	"fmt"
	"sync"

	"github.com/weirstream/weir/abi/schema"
)

// MaxCachedSchemas is how many schemas a SchemaCache keeps; one more and it begins anew.
const MaxCachedSchemas = 1024

// SchemaCache parses each schema text once. It is keyed by fingerprint and compares the text, so a forged fingerprint
// finds nothing. Safe for concurrent use; the zero value is ready.
type SchemaCache struct {
	mu      sync.RWMutex // guards schemas
	schemas map[uint64]*schema.Schema
}

// Get is the schema of the text, whose fingerprint the frame claims to be fp.
func (c *SchemaCache) Get(fp uint64, text []byte) (*schema.Schema, error) {
	c.mu.RLock()
	s := c.schemas[fp]
	c.mu.RUnlock()
	if s != nil && s.String() == string(text) {
		return s, nil
	}
	s, err := schema.Parse(string(text))
	if err != nil {
		return nil, err
	}
	if s.Fingerprint() != fp {
		return nil, fmt.Errorf("%w: header says %016x, the schema's text has %016x", ErrFingerprint, fp, s.Fingerprint())
	}
	c.Add(s)
	return s, nil
}

// Add puts a schema in, so that frames of it share the pointer.
func (c *SchemaCache) Add(s *schema.Schema) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.schemas == nil || len(c.schemas) >= MaxCachedSchemas {
		c.schemas = make(map[uint64]*schema.Schema)
	}
	c.schemas[s.Fingerprint()] = s
}
