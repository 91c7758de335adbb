package guest

import (
	"errors"
	"strconv"

	"github.com/weirstream/weir/sdk/go/internal/abi"
)

// begin reads the frame into the call.
func (c *Call) begin(o *opened, data []byte) error {
	f := &c.frame
	if err := f.Parse(data, abi.KindCall, knownCall, "guest"); err != nil {
		return err
	}
	head, ok := f.Find(abi.SectionCall, 0)
	if !ok || len(head) < headerBytes {
		return errors.New("the call section is missing or short")
	}
	c.Clock, c.Watermark, c.Seed = int64(le.Uint64(head)), int64(le.Uint64(head[8:])), le.Uint64(head[16:])
	c.Causes, c.Slots, c.Attempt = le.Uint32(head[24:]), le.Uint32(head[28:]), le.Uint32(head[32:])
	c.FirstGroup, c.LastGroup, c.max = le.Uint32(head[36:]), le.Uint32(head[40:]), int(le.Uint32(head[44:]))
	if c.max == 0 {
		c.max = defaultMaxOutput
	}
	// The room the tables of the frame itself take is not the user's.
	c.soft = c.max / 2
	c.Bytes = 512 + 256*(len(c.Fn.Outputs)+len(c.Fn.States))
	c.Config, c.Assets = o.config, o.assets
	c.fault, c.code, c.text = nil, 0, ""
	c.consumed, c.status = c.Causes, abi.StatusDone
	c.Time, c.Slot, c.Cause = abi.NoTime, 0, 0
	c.Randomized = 0
	c.timers = c.timers[:0]
	c.Arena.Reset()
	for _, out := range c.Fn.Outputs {
		out.Causes, out.Times, out.Timed, out.Kinds = out.Causes[:0], out.Times[:0], false, out.Kinds[:0]
		out.Rows.Truncate(0)
	}
	if err := c.beginRows(); err != nil {
		return err
	}
	return c.beginState()
}

// beginRows finds the rows, their slots and times, and the causes.
func (c *Call) beginRows() error {
	c.slots, c.times, c.causes, c.kinds, c.HasMeta = nil, nil, nil, nil, false
	c.input = -1
	rows := 0
	err := c.frame.Each(abi.SectionRows, func(index uint32, body []byte) error {
		if c.input >= 0 || int(index) >= len(c.Fn.Inputs) {
			return errors.New("rows of input " + strconv.Itoa(int(index)) + " of " + strconv.Itoa(len(c.Fn.Inputs)) + ", one input a call")
		}
		c.input = int(index)
		err := c.Rows.Parse(body, c.Fn.Inputs[index].Columns.Kinds)
		rows = c.Rows.Rows
		return err
	})
	if err != nil {
		return err
	}
	if body, ok := c.frame.Find(abi.SectionCauses, 0); ok {
		if len(body) < int(c.Causes)*causeBytes {
			return errors.New("the causes section is short")
		}
		c.causes = body
	} else if c.input < 0 || rows != int(c.Causes) {
		return errors.New(strconv.Itoa(int(c.Causes)) + " causes without a list, and " + strconv.Itoa(rows) + " rows")
	}
	if body, ok := c.frame.Find(abi.SectionSlots, 0); ok && c.Fn.Keyed() {
		c.slots = u32s(body)
	}
	if c.Fn.Keyed() && rows > 0 && len(c.slots) < rows {
		return errors.New("the slots section is missing or short")
	}
	for _, slot := range c.slots {
		if slot >= c.Slots {
			return errors.New("slot " + strconv.Itoa(int(slot)) + " of " + strconv.Itoa(int(c.Slots)))
		}
	}
	if body, ok := c.frame.Find(abi.SectionTimes, 0); ok {
		if c.times = i64s(body); len(c.times) < rows {
			return errors.New("the times section is short")
		}
	}
	if body, ok := c.frame.Find(abi.SectionKinds, 0); ok {
		if c.kinds = body; len(body) < rows {
			return errors.New("the kinds section is short")
		}
		for _, kind := range body {
			if kind > abi.RowDelete {
				return errors.New("a row of kind " + strconv.Itoa(int(kind)) + ", which is newer than this module: upgrade the guest")
			}
		}
	}
	if body, ok := c.frame.Find(abi.SectionMeta, 0); ok && len(body) > 0 {
		if err := c.Meta.Parse(body, metaKinds); err != nil {
			return err
		}
		c.HasMeta = c.Meta.Rows >= rows
	}
	return nil
}

func (c *Call) beginState() error {
	if !c.Fn.Keyed() {
		return nil
	}
	body, ok := c.frame.Find(abi.SectionKeys, 0)
	if !ok {
		return errors.New("the keys section is missing")
	}
	if err := c.Keys.Parse(body, c.Fn.KeyKinds); err != nil {
		return errors.New("keys: " + err.Error())
	}
	c.sized = c.sized[:0]
	for i, s := range c.Fn.States {
		if s.Framed == nil {
			continue
		}
		body, ok := c.frame.Find(abi.SectionState, uint32(i))
		if !ok {
			return errors.New("state " + quote(s.Name) + " is missing")
		}
		if err := s.begin(body, int(c.Slots)); err != nil {
			return errors.New("state " + quote(s.Name) + ": " + err.Error())
		}
		if s.Fixed < 0 {
			c.sized = append(c.sized, s)
		}
	}
	return nil
}

// run handles the causes until they end, one fails or the output is full.
func (c *Call) run() {
	if c.causes == nil {
		c.Fn.Inputs[c.input].Handler.Run(c)
		return
	}
	for i := range c.Causes {
		x := c.causeAt(i)
		Progress = i
		c.Cause, c.Slot, c.Row, c.Time = i, x.slot, x.row, x.time
		if !c.End(c.handle(x)) {
			return
		}
	}
}

func (c *Call) handle(x cause) error {
	switch x.kind {
	case abi.CauseRow:
		if c.input != int(x.number) || int(x.row) >= c.Rows.Rows {
			Fatal("cause " + strconv.Itoa(int(c.Cause)) + " names row " + strconv.Itoa(int(x.row)) + " of input " + strconv.Itoa(int(x.number)) + ", which is not in the frame")
		}
		if c.times != nil {
			c.Time = c.times[x.row]
		}
		if c.slots != nil {
			c.Slot = c.slots[x.row]
		}
		return c.Fn.Inputs[c.input].Handler.One(c, int(x.row))
	case abi.CauseEventTimer, abi.CauseProcessingTimer:
		if int(x.number) >= len(c.Fn.Timers) || c.Fn.Timers[x.number].Kind != x.kind || x.slot >= c.Slots {
			Fatal("cause " + strconv.Itoa(int(c.Cause)) + " fires timer " + strconv.Itoa(int(x.number)) + ", which the function has not")
		}
		return c.Fn.Timers[x.number].Fired(x.time)
	case abi.CauseEndOfInput:
		return nil
	}
	Fatal("cause " + strconv.Itoa(int(c.Cause)) + " is of kind " + strconv.Itoa(int(x.kind)) + ", which is newer than this module: upgrade the guest")
	return nil
}
