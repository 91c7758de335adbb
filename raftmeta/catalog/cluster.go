package catalog

import "fmt"

// Limits of names and texts.
const (
	MaxNameBytes    = 63
	MaxAddressBytes = 255
	MaxVersionBytes = 64
	MaxSlots        = 4096 // of one worker
)

// Settings hold for the whole cluster.
type Settings struct {
	ClusterID string `json:"cluster_id,omitempty"`
	// ExchangeKey is what workers show to each other.
	ExchangeKey string `json:"exchange_key,omitempty"`
	Created     int64  `json:"created,omitempty"` // microseconds since the epoch, as every time here
}

// Namespace separates tenants.
type Namespace struct {
	Name    string `json:"name"`
	Created int64  `json:"created,omitempty"`
	Limits  Limits `json:"limits,omitzero"`
}

// Worker is one registration of a data-plane process. A process that registers
// again, even under its old id, gets a new epoch; what was assigned to the old one is lost.
type Worker struct {
	Epoch      uint64 `json:"epoch"`
	ID         string `json:"id"`
	Address    string `json:"address"`
	Node       string `json:"node,omitempty"` // the machine, for locality
	Slots      int    `json:"slots"`
	Version    string `json:"version"`
	Draining   bool   `json:"draining,omitempty"`
	Registered int64  `json:"registered"`
	Changed    uint64 `json:"changed"`
}

// Node is a Raft member.
type Node struct {
	ID          string `json:"id"`
	RaftAddress string `json:"raft_address"`
	HTTPAddress string `json:"http_address,omitempty"`
	Version     string `json:"version"`
	Joined      int64  `json:"joined"`
	Changed     uint64 `json:"changed"`
}

// InitCluster gives the cluster its id and its workers' key, each once.
type InitCluster struct {
	At          int64  `json:"at"`
	ClusterID   string `json:"cluster_id"`
	ExchangeKey string `json:"exchange_key,omitempty"`
}

func (c *InitCluster) apply(tx *txn) error {
	if err := checkName("cluster", c.ClusterID); err != nil {
		return err
	}
	if len(c.ExchangeKey) > MaxAddressBytes {
		return refuse(ErrInvalid, "init cluster %s: a key of %d bytes, the limit is %d", c.ClusterID, len(c.ExchangeKey), MaxAddressBytes)
	}
	if tx.Settings.ClusterID == c.ClusterID {
		if tx.Settings.ExchangeKey != "" || c.ExchangeKey == "" {
			return nil
		}
		tx.Settings.ExchangeKey = c.ExchangeKey // made by a version that had none
		tx.changed(KindSettings, c.ClusterID)
		return nil
	}
	if tx.Settings.ClusterID != "" {
		return refuse(ErrExists, "init cluster %s: this data belongs to cluster %s; use another --data-dir", c.ClusterID, tx.Settings.ClusterID)
	}
	tx.Settings = Settings{ClusterID: c.ClusterID, ExchangeKey: c.ExchangeKey, Created: c.At}
	tx.changed(KindSettings, c.ClusterID)
	return nil
}

// CreateNamespace makes a namespace.
type CreateNamespace struct {
	At   int64  `json:"at"`
	Name string `json:"name"`
}

func (c *CreateNamespace) apply(tx *txn) error {
	if err := checkName("namespace", c.Name); err != nil {
		return err
	}
	if _, ok := tx.namespaces.get(c.Name); ok {
		return refuse(ErrExists, "create namespace %s", c.Name)
	}
	tx.namespaces = tx.namespaces.with(c.Name, &Namespace{Name: c.Name, Created: c.At})
	tx.changed(KindNamespace, c.Name)
	return nil
}

// DeleteNamespace removes an empty namespace.
type DeleteNamespace struct {
	At   int64  `json:"at"`
	Name string `json:"name"`
}

func (c *DeleteNamespace) apply(tx *txn) error {
	if c.Name == DefaultNamespace {
		return refuse(ErrInvalid, "delete namespace %s: it always exists", c.Name)
	}
	if _, ok := tx.namespaces.get(c.Name); !ok {
		return refuse(ErrNotFound, "delete namespace %s", c.Name)
	}
	for p := range tx.Pipelines(c.Name) {
		return refuse(ErrInUse, "delete namespace %s: it holds pipeline %s; delete that first", c.Name, p.Name)
	}
	for t := range tx.Topics(c.Name) {
		return refuse(ErrInUse, "delete namespace %s: it holds topic %s; delete that first", c.Name, t.Name)
	}
	for m := range tx.Modules(c.Name) {
		return refuse(ErrInUse, "delete namespace %s: it holds module %s; delete that first", c.Name, m.Name)
	}
	for p := range tx.Savepoints() {
		if p.Namespace == c.Name {
			return refuse(ErrInUse, "delete namespace %s: it holds savepoint %s; delete that first", c.Name, p.ID)
		}
	}
	for v := range tx.Secrets(c.Name) {
		return refuse(ErrInUse, "delete namespace %s: it holds secret %s; delete that first", c.Name, v.Name)
	}
	if id, ok := tx.tokenOf(c.Name, c.At); ok {
		return refuse(ErrInUse, "delete namespace %s: token %s is for it; revoke that first", c.Name, id)
	}
	tx.namespaces = tx.namespaces.without(c.Name)
	tx.deleted(KindNamespace, c.Name)
	return nil
}

// RegisterWorker registers a worker; Result.Number is its epoch, which every later message of the worker carries.
type RegisterWorker struct {
	At      int64  `json:"at"`
	ID      string `json:"id"`
	Address string `json:"address"`
	Node    string `json:"node,omitempty"`
	Slots   int    `json:"slots"`
	Version string `json:"version"`
}

func (c *RegisterWorker) apply(tx *txn) error {
	if err := checkName("worker", c.ID); err != nil {
		return err
	}
	if c.Slots < 1 || c.Slots > MaxSlots {
		return refuse(ErrInvalid, "register worker %s with %d slots: choose 1 to %d", c.ID, c.Slots, MaxSlots)
	}
	if err := checkLengths("register worker "+c.ID, c.Address, c.Node, c.Version); err != nil {
		return err
	}
	if old, ok := tx.WorkerNamed(c.ID); ok {
		tx.workers = tx.workers.without(epochKey(old.Epoch))
		tx.deleted(KindWorker, fmt.Sprint(old.Epoch))
	}
	tx.counters.Epoch++
	w := &Worker{
		Epoch: tx.counters.Epoch, ID: c.ID, Address: c.Address, Node: c.Node, Slots: c.Slots,
		Version: c.Version, Registered: c.At, Changed: tx.Revision,
	}
	tx.workers = tx.workers.with(epochKey(w.Epoch), w)
	tx.result.Number = w.Epoch
	tx.changed(KindWorker, fmt.Sprint(w.Epoch))
	return nil
}

// DrainWorker says that a worker takes no new tasks and gives its own up.
type DrainWorker struct {
	At    int64  `json:"at"`
	Epoch uint64 `json:"epoch"`
}

func (c *DrainWorker) apply(tx *txn) error {
	w, ok := tx.Worker(c.Epoch)
	if !ok {
		return refuse(ErrNotFound, "drain worker of epoch %d: it left or registered again", c.Epoch)
	}
	if w.Draining {
		return nil
	}
	next := *w
	next.Draining, next.Changed = true, tx.Revision
	tx.workers = tx.workers.with(epochKey(c.Epoch), &next)
	tx.changed(KindWorker, fmt.Sprint(c.Epoch))
	return nil
}

// RemoveWorker ends a registration: the worker left, or was lost.
type RemoveWorker struct {
	At     int64  `json:"at"`
	Epoch  uint64 `json:"epoch"`
	Reason string `json:"reason,omitempty"`
	// Left: it ended in order, so that its jobs begin again without counting a restart.
	Left bool `json:"left,omitempty"`
}

func (c *RemoveWorker) apply(tx *txn) error {
	if _, ok := tx.Worker(c.Epoch); !ok {
		return refuse(ErrNotFound, "remove worker of epoch %d: it left or registered again", c.Epoch)
	}
	tx.workers = tx.workers.without(epochKey(c.Epoch))
	tx.deleted(KindWorker, fmt.Sprint(c.Epoch))
	if !c.Left {
		return nil
	}
	for p := range tx.Pipelines("") {
		if !p.Job.State.HasTasks() || len(p.Job.Slots.Of(c.Epoch)) == 0 {
			continue
		}
		next := p.clone()
		next.Job.Left = true
		if err := tx.putState(next); err != nil {
			return err
		}
	}
	return nil
}

// PutNode records a Raft member's addresses and version.
type PutNode struct {
	At          int64  `json:"at"`
	ID          string `json:"id"`
	RaftAddress string `json:"raft_address"`
	HTTPAddress string `json:"http_address,omitempty"`
	Version     string `json:"version"`
}

func (c *PutNode) apply(tx *txn) error {
	if err := checkName("node", c.ID); err != nil {
		return err
	}
	if err := checkLengths("put node "+c.ID, c.RaftAddress, c.HTTPAddress, c.Version); err != nil {
		return err
	}
	n := &Node{ID: c.ID, RaftAddress: c.RaftAddress, HTTPAddress: c.HTTPAddress, Version: c.Version, Joined: c.At, Changed: tx.Revision}
	if old, ok := tx.nodes.get(c.ID); ok {
		n.Joined = old.Joined
		same := *n
		same.Changed = old.Changed
		if same == *old {
			return nil
		}
	}
	tx.nodes = tx.nodes.with(c.ID, n)
	tx.changed(KindNode, c.ID)
	return nil
}

// RemoveNode forgets a Raft member.
type RemoveNode struct {
	At int64  `json:"at"`
	ID string `json:"id"`
}

func (c *RemoveNode) apply(tx *txn) error {
	if _, ok := tx.nodes.get(c.ID); !ok {
		return refuse(ErrNotFound, "remove node %s", c.ID)
	}
	tx.nodes = tx.nodes.without(c.ID)
	tx.deleted(KindNode, c.ID)
	return nil
}

// checkName holds names to what is a NATS subject token, a file name and a
// path segment at once: letters, digits, '_' and '-', beginning with no '-'.
func checkName(what, name string) error {
	if name == "" || len(name) > MaxNameBytes {
		return refuse(ErrInvalid, "%s name %q has %d bytes: use 1 to %d", what, name[:min(len(name), MaxNameBytes)], len(name), MaxNameBytes)
	}
	for i := range len(name) {
		b := name[i]
		ok := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_' || b == '-' && i > 0
		if !ok {
			return refuse(ErrInvalid, "%s name %q has %q at byte %d: use letters, digits, '_' and '-', beginning with no '-'", what, name, b, i)
		}
	}
	return nil
}

func checkLengths(what string, texts ...string) error {
	for _, t := range texts {
		if len(t) > MaxAddressBytes {
			return refuse(ErrInvalid, "%s: a text of %d bytes, the limit is %d", what, len(t), MaxAddressBytes)
		}
	}
	return nil
}

func (s *State) requireNamespace(what, namespace string) error {
	if _, ok := s.namespaces.get(namespace); !ok {
		return refuse(ErrNotFound, "%s: namespace %q does not exist; create it first: weir namespace create %s", what, namespace, namespace)
	}
	return nil
}
