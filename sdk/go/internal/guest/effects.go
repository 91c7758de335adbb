package guest

import (
	"github.com/weirstream/weir/sdk/go/internal/abi"
)

const defaultMaxOutput = 8 << 20

// effects writes the answer.
func (c *Call) effects() []byte {
	c.out.Reset(abi.KindEffects, 3+4*len(c.Fn.Outputs)+len(c.Fn.States))
	var result [abi.ResultSize]byte
	le.PutUint32(result[:], c.consumed)
	le.PutUint32(result[4:], c.status)
	le.PutUint32(result[8:], c.code)
	c.out.Section(abi.SectionResult, must, 0, result[:])
	if c.status == abi.StatusFailed {
		c.out.Begin(abi.SectionText, 0, 0)
		c.out.AppendString(c.text)
		c.out.End()
	}
	for i, o := range c.Fn.Outputs {
		if len(o.Causes) > 0 {
			c.output(uint32(i), o)
		}
	}
	for i, s := range c.Fn.States {
		if s.Framed != nil {
			s.writes(c, i, c.consumed)
		}
	}
	if len(c.timers) > 0 {
		c.timerOps()
	}
	return c.out.Finish()
}

func (c *Call) output(index uint32, o *Output) {
	c.out.Begin(abi.SectionOutput, must, index)
	o.Rows.Store(&c.out)
	c.out.End()
	c.out.Begin(abi.SectionOutputCauses, must, index)
	copy(u32s(c.out.Grow(4*len(o.Causes))), o.Causes)
	c.out.End()
	if o.Timed {
		c.out.Begin(abi.SectionOutputTimes, must, index)
		copy(i64s(c.out.Grow(8*len(o.Times))), o.Times)
		c.out.End()
	}
	if len(o.Kinds) > 0 {
		c.out.Begin(abi.SectionOutputKinds, must, index)
		at := copy(c.out.Grow(len(o.Causes)), o.Kinds)
		clear(c.out.From(c.out.Len() - (len(o.Causes) - at))) // the rest are inserts
		c.out.End()
	}
}

func (c *Call) timerOps() {
	n := len(c.timers)
	c.out.Begin(abi.SectionTimers, must, 0)
	w := c.out.Block(n, 6)
	w.Node(n)
	causes := u32s(w.Values(4 * n))
	for i, t := range c.timers {
		causes[i] = t.cause
	}
	w.Node(n)
	slots := u32s(w.Values(4 * n))
	for i, t := range c.timers {
		slots[i] = t.slot
	}
	w.Node(n)
	kinds := w.Values(n)
	for i, t := range c.timers {
		kinds[i] = t.kind
	}
	w.Node(n)
	ops := w.Values(n)
	for i, t := range c.timers {
		ops[i] = t.op
	}
	w.Node(n)
	numbers := w.Values(2 * n)
	for i, t := range c.timers {
		le.PutUint16(numbers[2*i:], t.timer)
	}
	w.Node(n)
	times := i64s(w.Values(8 * n))
	for i, t := range c.timers {
		times[i] = t.time
	}
	w.Finish()
	c.out.End()
}
