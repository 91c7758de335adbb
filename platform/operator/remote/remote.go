package remote

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/operator/async"
	"github.com/weirstream/weir/platform/operator/deadletter"
	"github.com/weirstream/weir/platform/statefun/endpoint"
	"github.com/weirstream/weir/platform/statefun/wire"
	"github.com/weirstream/weir/platform/storage/state"
)

// index is the timer that every address with mail has: who restores the state
// finds by it what waits.
var index = state.Timer{Kind: state.EventTime, Name: timerMail, Time: element.MinTime + 1}

// Operator runs the functions of one endpoint.
type Operator struct {
	ctx      *operator.Context
	config   Config
	endpoint *endpoint.Endpoint
	calls    *async.Calls[result]
	keyer    *functions.Keyer
	slots    []state.Slot
	one      [1]state.Slot

	addresses map[string]*address // those with mail, by key
	ready     []*address          // those with mail and no request under way
	specs     map[string][]wire.Spec
	bytes     int64 // of mail that can go
	waiting   int64 // messages

	quarantined      map[*address]bool
	quarantinedBytes int64

	request wire.Request
	reply   wire.Reply
	scratch []byte
	due     []state.Firing
	sent    *batch.Builder
	egress  *batch.Builder
	dead    *deadletter.Writer
	letters *batch.Builder // rows for the dead letters' writer
}

// address is one with mail.
type address struct {
	functions.Address
	key         []byte
	hash        uint64
	mail        int   // messages
	size        int64 // their bytes
	busy        bool  // a request is under way
	queued      bool  // it stands in ready
	quarantined bool
	probe       time.Duration // the pause before the next try by itself
	asked       int           // times in a row that its function asked for states
}

// result is what came of a request.
type result struct {
	to    *address
	count int    // messages that it had
	last  uint64 // number of the last one
	reply []byte
	err   error
}

// New makes the operator.
func New() *Operator { return &Operator{} }

// Open begins with the mail that waits.
func (o *Operator) Open(ctx *operator.Context) (err error) {
	o.ctx = ctx
	if err := json.Unmarshal(ctx.Config, &o.config); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if o.config.MaxBatch <= 0 {
		o.config.MaxBatch = DefaultBatch
	}
	if o.config.MaxInFlight <= 0 {
		o.config.MaxInFlight = DefaultInFlight
	}
	o.config.MaxInFlight = min(o.config.MaxInFlight, MaxInFlight)
	if o.config.Endpoint.MaxConnections == 0 {
		o.config.Endpoint.MaxConnections = o.config.MaxInFlight
	}
	if o.endpoint, err = endpoint.New(o.config.Endpoint); err != nil {
		return err
	}
	if o.keyer, err = functions.NewKeyer(functions.Message, "type", "id"); err != nil {
		return err
	}
	o.calls = async.New[result](o.config.MaxInFlight, ctx.Wake)
	o.addresses, o.quarantined, o.specs = map[string]*address{}, map[*address]bool{}, map[string][]wire.Spec{}
	o.sent, o.egress = batch.NewBuilder(functions.Sent), batch.NewBuilder(functions.Egress)
	if o.config.DeadLetters {
		o.dead = deadletter.NewWriter(ctx.Identity, 2, ctx.Output)
		o.letters = batch.NewBuilder(functions.Message)
	}
	if err := o.restoreSpecs(ctx.Restored); err != nil {
		return err
	}
	if err := o.restoreMail(); err != nil {
		return err
	}
	return o.start()
}

// restoreMail finds the addresses with mail.
func (o *Operator) restoreMail() error {
	var waiting, some []state.Firing
	for {
		if some = o.ctx.State.Due(state.EventTime, index.Time, addressesPerStep, some); len(some) == 0 {
			break
		}
		waiting = append(waiting, some...)
	}
	for _, f := range waiting {
		o.ctx.State.SetTimer(f.Slot, index)
		key, hash := o.ctx.State.Key(f.Slot)
		a := &address{key: bytes.Clone(key), hash: hash, probe: FirstProbe}
		var err error
		if a.Address, err = functions.AddressOfKey(key); err != nil {
			return err
		}
		for _, value := range o.ctx.State.Scan(f.Slot, stateMail, nil) {
			a.mail++
			a.size += int64(len(value))
		}
		_, a.quarantined = o.ctx.State.Get(f.Slot, stateQuarantine)
		o.addresses[string(a.key)] = a
		o.book(a, a.mail, a.size)
		if a.quarantined {
			o.quarantined[a] = true
		} else {
			o.enqueue(a)
		}
	}
	return nil
}

const addressesPerStep = 1024

// book counts mail that has come or, with numbers below zero, gone.
func (o *Operator) book(a *address, messages int, size int64) {
	if a.quarantined {
		o.quarantinedBytes += size
	} else {
		o.bytes += size
	}
	o.waiting += int64(messages)
}

func (o *Operator) enqueue(a *address) {
	if !a.busy && !a.queued && !a.quarantined && a.mail > 0 {
		a.queued = true
		o.ready = append(o.ready, a)
	}
}

// slot finds the state of an address. It holds until the next call.
func (o *Operator) slot(a *address) state.Slot {
	offsets := [2]int32{0, int32(len(a.key))}
	hashes := [1]uint64{a.hash}
	return o.ctx.State.Resolve(state.Keys{Bytes: a.key, Offsets: offsets[:]}, hashes[:], o.one[:0])[0]
}

// Process puts messages into their mailboxes, and makes the requests there is room for.
func (o *Operator) Process(_ int, b *batch.Batch) error {
	defer b.Release()
	if err := o.keyer.Encode(b); err != nil {
		return err
	}
	k := o.keyer
	o.slots = o.ctx.State.Resolve(state.Keys{Bytes: k.Bytes, Offsets: k.Offsets}, k.Hashes, o.slots[:0])
	typenames := &b.Columns[functions.MessageTypename]
	for i, slot := range o.slots {
		row := b.Row(i)
		key := k.Bytes[k.Offsets[i]:k.Offsets[i+1]]
		if string(typenames.BytesAt(row)) == functions.ControlTypename {
			if err := o.control(key, string(b.Columns[functions.MessageValue].BytesAt(row))); err != nil {
				return err
			}
			continue
		}
		a := o.addresses[string(key)]
		if a == nil {
			a = &address{key: bytes.Clone(key), hash: k.Hashes[i], probe: FirstProbe}
			a.Type, a.ID = string(b.Columns[functions.MessageType].BytesAt(row)), string(b.Columns[functions.MessageID].BytesAt(row))
			o.addresses[string(a.key)] = a
			o.ctx.State.SetTimer(slot, index)
		}
		o.scratch = appendMail(o.scratch[:0], b, row)
		size := int64(len(o.scratch))
		if a.quarantined && o.quarantinedBytes+size > MaxQuarantinedBytes && o.dead != nil {
			o.ctx.Meter.DeadLetters.Add(1)
			if err := o.dead.Row(fmt.Sprintf("%s is in quarantine, and more than %d bytes wait there", a.Address, MaxQuarantinedBytes), b, row); err != nil {
				return err
			}
			continue
		}
		st := status(o.ctx.State.Mutable(slot, stateStatus, statusBytes))
		sub := numberBytes(st.next())
		st.setNext(st.next() + 1)
		if err := o.ctx.State.PutEntry(slot, stateMail, sub[:], o.scratch); err != nil {
			return err
		}
		a.mail++
		a.size += size
		o.book(a, 1, size)
		o.enqueue(a)
	}
	return o.start()
}

// Woken applies replies and makes the next requests.
func (o *Operator) Woken() error {
	was := o.Braking()
	for _, r := range o.calls.Take() {
		if err := o.finish(r); err != nil {
			return err
		}
	}
	if err := o.emit(); err != nil {
		return err
	}
	if err := o.start(); err != nil {
		return err
	}
	if was && !o.Braking() {
		o.ctx.Wake()
	}
	return nil
}

func (o *Operator) emit() error {
	if o.sent.Len() > 0 {
		if err := o.ctx.Output.Emit(0, o.sent.Finish("", 0)); err != nil {
			return err
		}
	}
	if o.egress.Len() > 0 {
		return o.ctx.Output.Emit(1, o.egress.Finish("", 0))
	}
	return nil
}

// Braking: what waits for the endpoint is bounded. Quarantine has a bound of its own.
func (o *Operator) Braking() bool {
	over := o.bytes > MaxMailBytes
	if o.dead == nil { // nothing can be dropped, so what is in quarantine counts too
		over = over || o.quarantinedBytes > MaxQuarantinedBytes
	}
	return over
}

// Barrier freezes what waits; requests go on beside it, and what they bring
// belongs to the epoch in which it is applied.
func (o *Operator) Barrier(element.Barrier) (operator.Snapshot, error) {
	return operator.Snapshot{Keyed: o.ctx.State.Freeze(), Items: o.specItems()}, nil
}

// Watermark passes on that the stage has no event time.
func (o *Operator) Watermark(_ int, w element.Watermark) error { return o.ctx.Output.Watermark(w) }

// Close gives requests up: they are made again from the checkpoint.
func (o *Operator) Close() error {
	if o.calls != nil {
		o.calls.Close()
		o.endpoint.Close()
	}
	return nil
}

// EndOfInput has nothing to do.
func (o *Operator) EndOfInput(int) error { return nil }
