package catalog

import (
	"fmt"
	"strings"
)

// MaxLabelBytes bounds a savepoint's label.
const MaxLabelBytes = 128

// Savepoint is a checkpoint that a user asked for: kept until deleted, a root
// for the sweeper, also after its pipeline is gone.
type Savepoint struct {
	ID         string `json:"id"`
	Namespace  string `json:"namespace"`
	Pipeline   string `json:"pipeline"` // its name
	UID        string `json:"uid"`      // whose files the manifest names
	Checkpoint uint64 `json:"checkpoint"`
	Manifest   Digest `json:"manifest"`
	Revision   uint64 `json:"revision"`
	Graph      Digest `json:"graph"`
	Spec       Digest `json:"spec"`
	Label      string `json:"label,omitempty"`
	Created    int64  `json:"created"`
	// Cluster is where it was made, if it was imported; its positions are of that cluster's topics.
	Cluster string `json:"cluster,omitempty"`
	Changed uint64 `json:"changed"`
}

// CreateSavepoint keeps the last checkpoint of a pipeline, if it is the given one and its output is visible.
type CreateSavepoint struct {
	At         int64  `json:"at"`
	UID        string `json:"uid"`
	Checkpoint uint64 `json:"checkpoint"`
	// Manifest, when set, is one made for the savepoint: without any transaction and independent of later sweeps.
	Manifest Digest `json:"manifest"`
	Label    string `json:"label,omitempty"`
}

func (c *CreateSavepoint) apply(tx *txn) error {
	p, what, err := tx.need("create savepoint of pipeline", c.UID)
	if err != nil {
		return err
	}
	if len(c.Label) > MaxLabelBytes {
		return refuse(ErrInvalid, "%s: a label of %d bytes, the limit is %d", what, len(c.Label), MaxLabelBytes)
	}
	last := p.Job.Last
	if last == nil || last.ID != c.Checkpoint {
		return refuse(ErrStale, "%s: checkpoint %d is not the last one; ask again", what, c.Checkpoint)
	}
	if p.Job.Unpublished() {
		return refuse(ErrUnpublished, "%s: checkpoint %d", what, last.ID)
	}
	if last.Revision != p.Current.Number {
		return refuse(ErrConflict, "%s: checkpoint %d is of revision %d, %d is current; ask again when that runs", what, last.ID, last.Revision, p.Current.Number)
	}
	tx.counters.Savepoint++
	s := &Savepoint{
		ID: fmt.Sprintf("s%d", tx.counters.Savepoint), Namespace: p.Namespace, Pipeline: p.Name, UID: p.UID,
		Checkpoint: last.ID, Manifest: last.Manifest, Revision: last.Revision, Graph: p.Current.Graph, Spec: p.Current.Spec,
		Label: c.Label, Created: c.At, Changed: tx.Revision,
	}
	if !c.Manifest.IsZero() {
		s.Manifest = c.Manifest
	}
	tx.savepoints = tx.savepoints.with(s.ID, s)
	tx.result.UID, tx.result.Number = s.UID, tx.counters.Savepoint
	tx.changed(KindSavepoint, s.ID)
	return nil
}

// ImportSavepoint enters a savepoint whose files were brought here.
type ImportSavepoint struct {
	At        int64  `json:"at"`
	Namespace string `json:"namespace"`
	Pipeline  string `json:"pipeline"` // as it was called where the savepoint was made
	// UID is a new one, below which its files stand: ImportPrefix, then lower-case letters and digits.
	UID        string `json:"uid"`
	Checkpoint uint64 `json:"checkpoint"`
	Manifest   Digest `json:"manifest"`
	Revision   uint64 `json:"revision"`
	Graph      Digest `json:"graph"`
	Spec       Digest `json:"spec"`
	Label      string `json:"label,omitempty"`
	Cluster    string `json:"cluster"`
}

// ImportPrefix begins the uids of imported savepoints; no pipeline's begins with it.
const ImportPrefix = "i"

func (c *ImportSavepoint) apply(tx *txn) error {
	what := "import savepoint of pipeline " + c.Pipeline
	if err := checkName("pipeline", c.Pipeline); err != nil {
		return err
	}
	if err := checkName("cluster", c.Cluster); err != nil {
		return err
	}
	if err := tx.requireNamespace(what, c.Namespace); err != nil {
		return err
	}
	if len(c.Label) > MaxLabelBytes {
		return refuse(ErrInvalid, "%s: a label of %d bytes, the limit is %d", what, len(c.Label), MaxLabelBytes)
	}
	nonce, ok := strings.CutPrefix(c.UID, ImportPrefix)
	if !ok || len(nonce) < 1 || len(nonce) > MaxNonceBytes || checkNonce(nonce) != nil {
		return refuse(ErrInvalid, "%s: uid %q is not %s and up to %d lower-case letters and digits", what, c.UID[:min(len(c.UID), MaxNameBytes)], ImportPrefix, MaxNonceBytes)
	}
	if c.Checkpoint == 0 || c.Manifest.IsZero() || c.Graph.IsZero() || c.Spec.IsZero() {
		return refuse(ErrInvalid, "%s: it needs a checkpoint and the digests of manifest, graph and specification", what)
	}
	for s := range tx.Savepoints() {
		if s.UID == c.UID {
			return refuse(ErrExists, "%s: savepoint %s has uid %s", what, s.ID, c.UID)
		}
	}
	tx.counters.Savepoint++
	s := &Savepoint{
		ID: fmt.Sprintf("s%d", tx.counters.Savepoint), Namespace: c.Namespace, Pipeline: c.Pipeline, UID: c.UID,
		Checkpoint: c.Checkpoint, Manifest: c.Manifest, Revision: c.Revision, Graph: c.Graph, Spec: c.Spec,
		Label: c.Label, Created: c.At, Cluster: c.Cluster, Changed: tx.Revision,
	}
	tx.savepoints = tx.savepoints.with(s.ID, s)
	tx.result.UID, tx.result.Number = s.UID, tx.counters.Savepoint
	tx.changed(KindSavepoint, s.ID)
	return nil
}

// DeleteSavepoint forgets a savepoint that no job starts from.
type DeleteSavepoint struct {
	At int64  `json:"at"`
	ID string `json:"id"`
}

func (c *DeleteSavepoint) apply(tx *txn) error {
	if _, ok := tx.Savepoint(c.ID); !ok {
		return refuse(ErrNotFound, "delete savepoint %s: see the list of savepoints", c.ID)
	}
	for p := range tx.Pipelines("") {
		if b := p.Job.Base; b != nil && b.Savepoint == c.ID {
			return refuse(ErrInUse, "delete savepoint %s: pipeline %s starts from it; wait for its first checkpoint", c.ID, p.Name)
		}
	}
	tx.savepoints = tx.savepoints.without(c.ID)
	tx.deleted(KindSavepoint, c.ID)
	return nil
}
