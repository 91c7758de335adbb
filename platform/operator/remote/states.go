package remote

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/statefun/wire"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
)

// itemSpecs is the snapshot item with the states that a type has declared.
const itemSpecs = "specs"

func (o *Operator) spec(typ, name string) *wire.Spec {
	specs := o.specs[typ]
	for i := range specs {
		if specs[i].Name == name {
			return &specs[i]
		}
	}
	return nil
}

// register notes the states that a function asks for. The first word on a state
// counts: another type for it is that address's error.
func (o *Operator) register(a *address) error {
	added := false
	for _, s := range o.reply.Missing {
		known := o.spec(a.Type, s.Name)
		switch {
		case known == nil && len(o.specs[a.Type]) == MaxStates:
			return fmt.Errorf("%w: more than %d states", wire.ErrReply, MaxStates)
		case known == nil:
			o.specs[a.Type] = append(o.specs[a.Type], s)
			added = true
		case known.Typename != s.Typename:
			return fmt.Errorf("%w: state %s is declared as %s, and was as %s", wire.ErrReply, s.Name, s.Typename, known.Typename)
		}
	}
	// Another address may have taught the host the same in the meantime; asking for what every request has, again and again, is a loop.
	if a.asked++; !added && a.asked > 2 {
		return fmt.Errorf("%w: it asks for states that the request had", wire.ErrReply)
	}
	return nil
}

// writeStates gives a request every state of the type, with its value if it has one.
func (o *Operator) writeStates(a *address, slot state.Slot, st status) error {
	now := o.ctx.Clock()
	called := st.called()
	for i := range o.specs[a.Type] {
		spec := &o.specs[a.Type][i]
		stored, found := o.ctx.State.GetEntry(slot, stateValues, []byte(spec.Name))
		if !found {
			o.request.State(spec.Name, nil)
			continue
		}
		written, value, err := readValue(stored)
		if err != nil {
			return err
		}
		if ends(spec, written, called) <= now {
			o.request.State(spec.Name, nil)
			continue
		}
		o.request.State(spec.Name, &value)
	}
	return nil
}

// ends is when a value ends (microseconds); never: the end of time.
func ends(s *wire.Spec, written, called int64) int64 {
	if s.AfterMillis <= 0 || s.AfterMillis > math.MaxInt64/2000 {
		return math.MaxInt64
	}
	switch s.Expiration {
	case wire.AfterWrite:
		return written + s.AfterMillis*1000
	case wire.AfterInvoke:
		return max(written, called) + s.AfterMillis*1000
	}
	return math.MaxInt64
}

// watchExpiry sets the timer at which the first value of an address ends. One
// that is due earlier already looks again then.
func (o *Operator) watchExpiry(a *address, slot state.Slot, st status) {
	if !slices.ContainsFunc(o.specs[a.Type], func(s wire.Spec) bool { return s.Expiration != wire.NeverExpires }) {
		return
	}
	first := int64(math.MaxInt64)
	called := st.called()
	for name, stored := range o.ctx.State.Scan(slot, stateValues, nil) {
		spec := o.spec(a.Type, string(name))
		written, _, err := readValue(stored)
		if spec != nil && err == nil {
			first = min(first, ends(spec, written, called))
		}
	}
	if first == math.MaxInt64 || st.expiry() != 0 && st.expiry() <= first {
		return
	}
	if st.expiry() != 0 {
		o.ctx.State.DeleteTimer(slot, state.Timer{Kind: state.ProcessingTime, Name: timerExpiry, Time: st.expiry()})
	}
	status(o.ctx.State.Mutable(slot, stateStatus, statusBytes)).setExpiry(first)
	o.ctx.State.SetTimer(slot, state.Timer{Kind: state.ProcessingTime, Name: timerExpiry, Time: first})
}

// expire drops the values of an address that have ended.
func (o *Operator) expire(slot state.Slot, clock int64) error {
	key, hash := o.ctx.State.Key(slot)
	to, err := functions.AddressOfKey(key)
	if err != nil {
		return err
	}
	a := &address{Address: to, key: slices.Clone(key), hash: hash}
	st := status(o.ctx.State.Mutable(slot, stateStatus, statusBytes))
	st.setExpiry(0)
	called := st.called()
	var gone []string
	for name, stored := range o.ctx.State.Scan(slot, stateValues, nil) {
		written, _, err := readValue(stored)
		if err != nil {
			return err
		}
		if spec := o.spec(to.Type, string(name)); spec != nil && ends(spec, written, called) <= clock {
			gone = append(gone, strings.Clone(string(name)))
		}
	}
	for _, name := range gone {
		o.ctx.State.DeleteEntry(slot, stateValues, []byte(name))
	}
	o.watchExpiry(a, slot, status(o.ctx.State.Mutable(slot, stateStatus, statusBytes)))
	return nil
}

// specItems puts the declared states into a snapshot, type by type.
func (o *Operator) specItems() (items []snapshot.Item) {
	types := make([]string, 0, len(o.specs))
	for typ := range o.specs {
		types = append(types, typ)
	}
	slices.Sort(types)
	for _, typ := range types {
		b, err := json.Marshal(o.specs[typ])
		if err != nil {
			panic(fmt.Sprintf("remote: specs are plain data: %v", err))
		}
		items = append(items, snapshot.Item{Kind: itemSpecs, Key: typ, Data: [][]byte{b}})
	}
	return items
}

// restoreSpecs merges what all tasks had learnt.
func (o *Operator) restoreSpecs(items []snapshot.Item) error {
	for _, it := range items {
		if it.Kind != itemSpecs || len(it.Data) == 0 {
			continue
		}
		var specs []wire.Spec
		if err := json.Unmarshal(slices.Concat(it.Data...), &specs); err != nil {
			return fmt.Errorf("states of %s: %w: %w", it.Key, ErrDamaged, err)
		}
		for _, s := range specs {
			if o.spec(it.Key, s.Name) == nil {
				o.specs[it.Key] = append(o.specs[it.Key], s)
			}
		}
	}
	return nil
}
