package archive

import (
	"time"

	"github.com/weirstream/weir/raftmeta/catalog"
)

// Header is the first entry: what one can know of a backup without reading on.
// Fields that are not known are passed over.
type Header struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	Weir    string    `json:"weir"` // the version that wrote it
	Cluster string    `json:"cluster"`
	Created time.Time `json:"created"`
	// Namespace is the only one that is in it; empty: all of them.
	Namespace string   `json:"namespace,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
}

// Catalog is what the cluster had agreed on, in types of this format's own: the
// catalog may change its entries, a backup that was written stays as it is. Times are
// microseconds since the epoch, digests SHA-256 in hexadecimal digits.
type Catalog struct {
	// Incarnations is the highest that the cluster had given to a topic.
	Incarnations uint64      `json:"incarnations"`
	Namespaces   []Namespace `json:"namespaces"`
	Tokens       []Token     `json:"tokens"`
	Secrets      []Secret    `json:"secrets"`
	Modules      []Module    `json:"modules"`
	Topics       []Topic     `json:"topics"`
	Savepoints   []Savepoint `json:"savepoints"`
	Pipelines    []Pipeline  `json:"pipelines"`
}

// Namespace is a tenant with what it may have; zero means no bound.
type Namespace struct {
	Name        string `json:"name"`
	Created     int64  `json:"created,omitempty"`
	Slots       int    `json:"slots,omitempty"`
	Pipelines   int    `json:"pipelines,omitempty"`
	Modules     int    `json:"modules,omitempty"`
	ModuleBytes int64  `json:"module_bytes,omitempty"`
	GuestShare  int    `json:"guest_share,omitempty"` // thousandths of a CPU
	GuestMemory int64  `json:"guest_memory,omitempty"`
}

// Token is a right to call, by the hash of its secret.
type Token struct {
	ID        string         `json:"id"`
	Role      string         `json:"role"`
	Namespace string         `json:"namespace,omitempty"`
	Hash      catalog.Digest `json:"hash"`
	Label     string         `json:"label,omitempty"`
	Created   int64          `json:"created"`
	Expires   int64          `json:"expires,omitempty"`
}

// Secret is a value as it was sealed; the key is not here.
type Secret struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Key       string `json:"key"` // the id of the key
	Sealed    []byte `json:"sealed"`
}

// Module is a name with its versions, newest last.
type Module struct {
	Namespace string          `json:"namespace"`
	Name      string          `json:"name"`
	Versions  []ModuleVersion `json:"versions"`
}

// ModuleVersion names the bundle and what it said of itself.
type ModuleVersion struct {
	Digest    catalog.Digest `json:"digest"`
	Manifest  catalog.Digest `json:"manifest"`
	SizeBytes int64          `json:"size_bytes"`
	Pushed    int64          `json:"pushed"`
}

// Topic says where a topic's records are: in NATS, which keeps them.
type Topic struct {
	Namespace   string `json:"namespace"`
	Name        string `json:"name"`
	Incarnation uint64 `json:"incarnation"`
	Partitions  int    `json:"partitions"`
	Layout      string `json:"layout"`
	Stream      string `json:"stream"`
	Subject     string `json:"subject"`
	Replicas    int    `json:"replicas"`
	MaxAgeMs    int64  `json:"max_age_ms,omitempty"`
	MaxBytes    int64  `json:"max_bytes,omitempty"`
	MaxMessages int64  `json:"max_messages,omitempty"`
	System      string `json:"system,omitempty"`
	Created     int64  `json:"created"`
}

// Savepoint is one whose whole archive stands further on, under its number.
type Savepoint struct {
	Number     int    `json:"number"` // from 1 on, without gaps
	Namespace  string `json:"namespace"`
	Pipeline   string `json:"pipeline"`
	Revision   uint64 `json:"revision"`
	Checkpoint uint64 `json:"checkpoint"`
	Label      string `json:"label,omitempty"`
	Created    int64  `json:"created"`
	// Cluster is where it was made, if not in the one that was backed up.
	Cluster string `json:"cluster,omitempty"`
}

// Pipeline is a definition and where it goes on.
type Pipeline struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Created   int64    `json:"created"`
	Running   bool     `json:"running"` // somebody wanted it to run
	Revision  Revision `json:"revision"`
	// Savepoint is the number of what it goes on from; 0: it begins without state, for the reason in NoState.
	Savepoint int `json:"savepoint,omitempty"`
	// RanOn tells that its job ran on behind that savepoint, and may have published what it publishes again from there.
	RanOn     bool   `json:"ran_on,omitempty"`
	Positions string `json:"positions,omitempty"` // as in the catalog's Base
	NoState   string `json:"no_state,omitempty"`
}

// Revision is a pipeline's current one.
type Revision struct {
	Number     uint64           `json:"number"`
	Graph      catalog.Digest   `json:"graph"`
	Spec       catalog.Digest   `json:"spec"`
	Modules    []catalog.Digest `json:"modules,omitempty"`
	FileSlots  int              `json:"file_slots,omitempty"`
	Delivery   string           `json:"delivery"`
	IntervalMs int64            `json:"interval_ms,omitempty"`
	PauseMs    int64            `json:"pause_ms,omitempty"`
	TimeoutMs  int64            `json:"timeout_ms,omitempty"`
	Retain     int              `json:"retain,omitempty"`
	MaxRestart int              `json:"max_restarts,omitempty"`
}

// Summary says what an archive holds.
type Summary struct {
	Header  Header
	Catalog *Catalog
	Bytes   int64 // of all entries, before they were compressed
}
