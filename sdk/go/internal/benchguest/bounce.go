package main

import (
	"encoding/binary"
	"errors"
	"strconv"

	weir "github.com/weirstream/weir/sdk/go"
)

// bounce counts and passes each message on to another address: what
// docs/benchmarks.md measures for functions. A message is the state of a random
// number generator (u64), the number of addresses (u64), and padding.
var (
	bounce  = weir.Stateful("bench.weir/bounce")
	bounced = weir.ValueOf[int64](bounce, "seen")
)

func init() {
	weir.On(bounce, weir.AsBytes, func(ctx *weir.Context, m *[]byte) error {
		*bounced.Edit(ctx)++
		v := *m
		if len(v) < 16 {
			return errors.New("a message of fewer than 16 bytes")
		}
		x, n := binary.LittleEndian.Uint64(v), binary.LittleEndian.Uint64(v[8:])
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(v, x) // in place: the message is this call's own
		weir.Send(ctx, weir.Address{Type: "bench.weir/bounce", ID: strconv.FormatUint(x%max(n, 1), 10)}, weir.AsBytes, v)
		return nil
	})
}
