package sink

import (
	"encoding/json"
	"fmt"

	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/storage/snapshot"
)

// KindWriterState is the kind of the items that hold a writer's state.
const KindWriterState = "writer-state"

// txnHeader stands in front of a transaction's chunks.
type txnHeader struct {
	Writer     connector.WriterID `json:"writer"`
	Checkpoint uint64             `json:"checkpoint"`
	Meta       json.RawMessage    `json:"meta,omitempty"`
	Chunks     int                `json:"chunks"`
}

// makeItems gives a writer's part of a checkpoint: one item with all of its
// transactions, because whoever is dealt it after a restore must publish them in
// their order, and one with its state.
func makeItems(w connector.WriterID, txns []connector.Transaction, state []byte) ([]snapshot.Item, error) {
	var items []snapshot.Item
	if len(txns) > 0 {
		headers := make([]txnHeader, len(txns))
		data := [][]byte{nil}
		for i, t := range txns {
			headers[i] = txnHeader{t.Writer, t.Checkpoint, t.Meta, len(t.Chunks)}
			data = append(data, t.Chunks...)
		}
		var err error
		if data[0], err = json.Marshal(headers); err != nil {
			return nil, fmt.Errorf("transaction of %s: %w", w, err)
		}
		items = append(items, snapshot.Item{Kind: snapshot.KindTransaction, Key: w.String(), Data: data})
	}
	if state != nil {
		owner, err := json.Marshal(w)
		if err != nil {
			return nil, fmt.Errorf("state of writer %s: %w", w, err)
		}
		items = append(items, snapshot.Item{Kind: KindWriterState, Key: w.String(), Data: [][]byte{owner, state}})
	}
	return items, nil
}

// readItems gives the transactions, which are dealt to one task each, and the
// states that fall to this task: every task is given all of them, and that of
// writer i falls to task i modulo parallelism.
func readItems(items []snapshot.Item, task, parallelism int) (txns []connector.Transaction, states [][]byte, err error) {
	for _, it := range items {
		switch it.Kind {
		case KindWriterState:
			if len(it.Data) != 2 {
				return nil, nil, fmt.Errorf("restore state of writer %s: %d parts, want two", it.Key, len(it.Data))
			}
			var owner connector.WriterID
			if err := json.Unmarshal(it.Data[0], &owner); err != nil {
				return nil, nil, fmt.Errorf("restore state of writer %s: %w", it.Key, err)
			}
			if owner.Task < 0 {
				return nil, nil, fmt.Errorf("restore state of writer %s: task %d", it.Key, owner.Task)
			}
			if owner.Task%parallelism == task {
				states = append(states, it.Data[1])
			}
		case snapshot.KindTransaction:
			some, err := readTransactions(it)
			if err != nil {
				return nil, nil, fmt.Errorf("restore transaction %s: %w", it.Key, err)
			}
			txns = append(txns, some...)
		}
	}
	return txns, states, nil
}

func readTransactions(it snapshot.Item) ([]connector.Transaction, error) {
	if len(it.Data) == 0 {
		return nil, fmt.Errorf("it is empty")
	}
	var headers []txnHeader
	if err := json.Unmarshal(it.Data[0], &headers); err != nil {
		return nil, err
	}
	rest := it.Data[1:]
	txns := make([]connector.Transaction, len(headers))
	for i, h := range headers {
		if h.Chunks < 0 || h.Chunks > len(rest) {
			return nil, fmt.Errorf("checkpoint %d has %d chunks, %d are left", h.Checkpoint, h.Chunks, len(rest))
		}
		txns[i] = connector.Transaction{Writer: h.Writer, Checkpoint: h.Checkpoint, Meta: h.Meta, Chunks: rest[:h.Chunks:h.Chunks]}
		rest = rest[h.Chunks:]
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d chunks belong to no transaction", len(rest))
	}
	return txns, nil
}
