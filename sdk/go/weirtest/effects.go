package weirtest

import (
	"fmt"
	"time"
	"unicode/utf8"

	weir "github.com/weirstream/weir/sdk/go"
)

var (
	writeSchema = []column{{"cause", typ{name: "int32"}}, {"slot", typ{name: "int32"}}, {"value", typ{name: "binary", null: true}}}
	timerSchema = []column{{"cause", typ{name: "int32"}}, {"slot", typ{name: "int32"}}, {"kind", typ{name: "int8"}}, {"op", typ{name: "int8"}},
		{"timer", typ{name: "int16"}}, {"time", typ{name: "int64"}}}
)

// take applies the effects of a call, after it has looked at everything the contract demands of them.
func (h *Harness) take(b *batch, o *overlay, answer []byte) (consumed int, failed string, err error) {
	sections, err := decodeContainer(2, answer)
	if err != nil {
		return 0, "", err
	}
	result := find(sections, 1, 0)
	if len(result) != 16 {
		return 0, "", fmt.Errorf("the result section has %d bytes", len(result))
	}
	consumed = int(le.Uint32(result))
	switch status := le.Uint32(result[4:]); {
	case status == 0 && consumed == b.len():
	case status == 1 && consumed > 0 && consumed < b.len():
	case status == 2 && consumed < b.len():
		failed = string(find(sections, 2, 0))
		if failed == "" {
			failed = "(no text)"
		}
	default:
		return 0, "", fmt.Errorf("status %d with %d of %d causes consumed", status, consumed, b.len())
	}
	for _, s := range sections {
		switch s.id {
		case 3:
			err = h.takeOutput(b, sections, s, consumed)
		case 7:
			err = h.takeWrites(o, s, consumed)
		case 8:
			err = h.takeTimers(o, s, consumed)
		}
		if err != nil {
			return 0, "", err
		}
	}
	h.apply(o, uint32(consumed))
	return consumed, failed, nil
}

func (h *Harness) takeOutput(b *batch, sections []section, s section, consumed int) error {
	if int(s.index) >= len(h.fn.Outputs) {
		return fmt.Errorf("output %d of %d", s.index, len(h.fn.Outputs))
	}
	out := h.fn.Outputs[s.index]
	values, rows, err := decodeBlock(out.cols, s.body)
	if err != nil {
		return fmt.Errorf("output %s: %w", out.Name, err)
	}
	causeBytes, timeBytes, kinds := find(sections, 4, s.index), find(sections, 5, s.index), find(sections, 6, s.index)
	if kinds != nil && (len(kinds) != rows || !h.changelog()) {
		return fmt.Errorf("output %s: %d rows with %d row kinds", out.Name, rows, len(kinds))
	}
	if len(causeBytes) != 4*rows || timeBytes != nil && len(timeBytes) != 8*rows {
		return fmt.Errorf("output %s: %d rows with %d bytes of causes and %d of times", out.Name, rows, len(causeBytes), len(timeBytes))
	}
	var causes []uint32
	for i := range rows {
		cause := le.Uint32(causeBytes[4*i:])
		causes = append(causes, cause)
		if !isSorted(causes, consumed) {
			return fmt.Errorf("output %s: row %d has cause %d of %d", out.Name, i, cause, consumed)
		}
		row := Row{Values: make([]any, len(values))}
		for c := range values {
			row.Values[c] = values[c][i]
			if text, ok := values[c][i].(string); ok && !utf8.ValidString(text) {
				return fmt.Errorf("output %s: column %s is no valid UTF-8: %q (a string of a row that was kept from an earlier call?)", out.Name, out.cols[c].name, text)
			}
		}
		at := int64(noTime)
		if b.rows != nil {
			at = b.rows[cause].time
		} else {
			at = b.firings[cause].time
		}
		if h.fn.Type != "" && b.rows != nil {
			row.sender, _ = b.rows[cause].values[indexOf(h.fn.Inputs[b.input].cols, "id")].(string)
		}
		if timeBytes != nil {
			at = int64(le.Uint64(timeBytes[8*i:]))
		}
		if at != noTime {
			row.Time = time.UnixMicro(at).UTC()
		}
		if kinds != nil {
			row.Kind = weir.RowKind(kinds[i])
		}
		h.outputs[s.index] = append(h.outputs[s.index], row)
	}
	return nil
}

func (h *Harness) takeWrites(o *overlay, s section, consumed int) error {
	if int(s.index) >= len(h.fn.State) || h.fn.State[s.index].Form != "framed" {
		return fmt.Errorf("writes of state %d, which is not framed", s.index)
	}
	state := h.fn.State[s.index]
	values, rows, err := decodeBlock(writeSchema, s.body)
	if err != nil {
		return fmt.Errorf("state %s: %w", state.Name, err)
	}
	var causes []uint32
	for i := range rows {
		causes = append(causes, uint32(values[0][i].(int64)))
		slot := values[1][i].(int64)
		if !isSorted(causes, consumed) || slot < 0 || int(slot) >= len(o.slots) {
			return fmt.Errorf("state %s: a write of slot %d with cause %d of %d", state.Name, slot, causes[i], consumed)
		}
		value, _ := values[2][i].([]byte)
		if len(value) > state.MaxBytes {
			return fmt.Errorf("state %s: a value of %d bytes; the limit is %d", state.Name, len(value), state.MaxBytes)
		}
		if values[2][i] == nil {
			value = nil
		} else if value == nil {
			value = []byte{}
		}
		o.slots[slot].framed[s.index] = value
		o.slots[slot].stamps[s.index] = h.clock
	}
	return nil
}

func (h *Harness) takeTimers(o *overlay, s section, consumed int) error {
	values, rows, err := decodeBlock(timerSchema, s.body)
	if err != nil {
		return fmt.Errorf("timers: %w", err)
	}
	var causes []uint32
	for i := range rows {
		causes = append(causes, uint32(values[0][i].(int64)))
		slot, kind, op, number := values[1][i].(int64), values[2][i].(int64), values[3][i].(int64), values[4][i].(int64)
		if !isSorted(causes, consumed) || slot < 0 || int(slot) >= len(o.slots) || number < 0 || int(number) >= len(h.fn.Timers) || op < 0 || op > 1 {
			return fmt.Errorf("timer %d, slot %d, operation %d, cause %d of %d", number, slot, op, causes[i], consumed)
		}
		if want := map[string]int64{"event": causeEvent, "processing": causeProcessing}[h.fn.Timers[number].Kind]; kind != want {
			return fmt.Errorf("timer %s is of kind %d, not %d", h.fn.Timers[number].Name, want, kind)
		}
		t := timer{int(number), values[5][i].(int64)}
		if op == 0 {
			o.slots[slot].timers[t] = true
		} else {
			delete(o.slots[slot].timers, t)
		}
	}
	return nil
}
