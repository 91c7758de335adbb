package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
	"unsafe"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/manifest"
	"github.com/weirstream/weir/abi/row"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/wasmhost"
)

const (
	nativeBinary = "bin/bench-native"
	framedCalls  = 64
	framedRows   = 1024
	framedTurns  = 40 // of all calls, in one measurement
)

// runFrame compares guests to the SDK's Go function compiled natively, all
// behind the same calls: written by the host's codec from columns and state, run,
// and the effects decoded. Processor time alone counts, in turns.
func runFrame(ctx context.Context, c *config) error {
	host, err := wasmhost.NewHost(ctx, wasmhost.Options{})
	if err != nil {
		return err
	}
	defer host.Close(ctx)
	cGuest, err := openFramed(ctx, host, "sdk/c/bench/count_sum.wasm")
	if err != nil {
		return err
	}
	goGuest, err := openFramed(ctx, host, "bin/bench.wasm")
	if err != nil {
		return err
	}
	calls := someCalls()
	file, answers, err := goGuest.record(ctx, calls)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	var inC, inGo, natively, ratioC, ratioGo []float64
	const perTurn = framedTurns * framedCalls * framedRows
	for range max(c.rounds, 5) {
		a, err := goGuest.codec(calls, answers)
		if err != nil {
			return err
		}
		ns, sum, err := replay(ctx, file)
		if err != nil {
			return err
		}
		if want := checksum(answers); sum != want {
			return fmt.Errorf("the native function answers otherwise than the guest: checksum %x, want %x", sum, want)
		}
		native := float64(a+ns) / perTurn
		x, err := cGuest.time(ctx, calls)
		if err != nil {
			return err
		}
		y, err := goGuest.time(ctx, calls)
		if err != nil {
			return err
		}
		natively, inC, inGo = append(natively, native), append(inC, float64(x)/perTurn), append(inGo, float64(y)/perTurn)
		ratioC, ratioGo = append(ratioC, native*perTurn/float64(x)), append(ratioGo, native*perTurn/float64(y))
	}
	fmt.Printf("native Go %4.0f ns of CPU a record, with writing the call and reading the effects\n", median(natively))
	fmt.Printf("c         %4.0f ns: %.2f of native's rate (aim 0.7)\n", median(inC), median(ratioC))
	fmt.Printf("go        %4.0f ns: %.2f of native's rate (aim 0.25)\n", median(inGo), median(ratioGo))
	return nil
}

// framed is a guest's count_sum, with meter.
type framed struct {
	sig      *frame.Signature
	request  []byte
	instance *wasmhost.Instance
	handle   uint32
	writer   frame.CallWriter
	effects  frame.Effects
}

func openFramed(ctx context.Context, host *wasmhost.Host, file string) (*framed, error) {
	wasm, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w; build it by: go tool task guests:bench", err)
	}
	module, err := host.Compile(ctx, wasm)
	if err != nil {
		return nil, err
	}
	f := &framed{}
	if f.instance, err = module.Instantiate(ctx, wasmhost.InstanceOptions{}); err != nil {
		return nil, err
	}
	text, err := f.instance.Describe(ctx, container(frame.KindDescribe, section{abi.DescribeSectionParams, "{}"}), wasmhost.CallOptions{})
	if err != nil {
		return nil, err
	}
	m, err := manifest.Parse(bytes.Clone(text))
	if err != nil {
		return nil, err
	}
	f.sig = m.Function("count_sum").Signature()
	f.request = container(frame.KindOpen, section{abi.OpenSectionFunction, "count_sum"}, section{abi.OpenSectionConfig, "{}"}, section{abi.OpenSectionCapabilities, ""})
	f.handle, err = f.instance.Open(ctx, f.request, wasmhost.CallOptions{})
	return f, err
}

type section struct {
	id   uint16
	body string
}

func container(kind frame.Kind, sections ...section) []byte {
	var w frame.ContainerWriter
	w.Reset(kind)
	for _, s := range sections {
		w.Reserve(s.id, 0, abi.SectionMustUnderstand, len(s.body))
	}
	out := alignedBytes(w.Size())
	w.Begin(out)
	for i, s := range sections {
		copy(w.Body(i), s.body)
	}
	return out
}

func alignedBytes(n int) []byte {
	words := make([]uint64, (n+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 8*len(words))[:n]
}

// someCalls are batches over the keys of the flow, each key with its state.
func someCalls() []frame.Call {
	rng := rand.New(rand.NewPCG(3, 4))
	columns := schema.MustParse(flowSchema)
	keySchema, err := columns.Project("key")
	if err != nil {
		panic(err)
	}
	pad := bytes.Repeat([]byte{'x'}, padBytes)
	calls := make([]frame.Call, framedCalls)
	for i := range calls {
		rows, keys := frame.NewBuilder(columns), frame.NewBuilder(keySchema)
		numbers := map[int64]uint32{}
		c := &calls[i]
		var states [][]byte
		for j := range framedRows {
			k := rng.Int64N(flowKeys)
			rows.Column(0).AppendInt64(k)
			rows.Column(1).AppendInt64(int64(j))
			rows.Column(2).AppendBytes(pad)
			number, known := numbers[k]
			if !known {
				number = uint32(len(numbers))
				numbers[k] = number
				keys.Column(0).AppendInt64(k)
				states = append(states, row.AppendInt(row.AppendInt(nil, 1, rng.Int64N(100)), 2, rng.Int64N(1<<40)))
			}
			c.RowSlots = append(c.RowSlots, number)
		}
		c.Rows, c.Columns = rows.Rows(), rows.Columns()
		c.Slots, c.Keys = len(states), keys.Columns()
		c.States = []frame.StateValues{{Values: states}}
		c.LastGroup = 255
	}
	return calls
}

// run makes one call.
func (f *framed) run(ctx context.Context, c *frame.Call) ([]byte, error) {
	size, err := f.writer.Prepare(f.sig, c)
	if err != nil {
		return nil, err
	}
	out, err := f.instance.Call(ctx, f.handle, size, func(dst []byte) { f.writer.Write(dst) }, wasmhost.CallOptions{})
	if err != nil {
		return nil, err
	}
	if err := f.effects.Decode(f.sig, c, out); err != nil {
		return nil, err
	}
	if f.effects.Consumed != framedRows {
		return nil, errors.New("a call was not consumed whole")
	}
	return out, nil
}

// record writes the calls to a file, and gives the guest's answers.
func (f *framed) record(ctx context.Context, calls []frame.Call) (name string, answers [][]byte, err error) {
	file, err := os.CreateTemp("", "weir-bench-calls-")
	if err != nil {
		return "", nil, err
	}
	defer file.Close()
	put := func(b []byte) {
		if err == nil {
			_, err = file.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...))
		}
	}
	put(f.request)
	for i := range calls {
		out, callErr := f.run(ctx, &calls[i])
		if callErr != nil {
			return "", nil, callErr
		}
		answers = append(answers, append(alignedBytes(len(out))[:0], out...))
		size, callErr := f.writer.Prepare(f.sig, &calls[i])
		if callErr != nil {
			return "", nil, callErr
		}
		b := alignedBytes(size)
		f.writer.Write(b)
		put(b)
	}
	return file.Name(), answers, err
}

// time is the processor time of all turns.
func (f *framed) time(ctx context.Context, calls []frame.Call) (time.Duration, error) {
	began := cpu()
	for range framedTurns {
		for i := range calls {
			if _, err := f.run(ctx, &calls[i]); err != nil {
				return 0, err
			}
		}
	}
	return cpu() - began, nil
}

// codec is the processor time of the host's part alone.
func (f *framed) codec(calls []frame.Call, answers [][]byte) (time.Duration, error) {
	buf := alignedBytes(frame.MaxCallBytes)
	began := cpu()
	for range framedTurns {
		for i := range calls {
			size, err := f.writer.Prepare(f.sig, &calls[i])
			if err != nil {
				return 0, err
			}
			f.writer.Write(buf[:size])
			if err := f.effects.Decode(f.sig, &calls[i], answers[i]); err != nil {
				return 0, err
			}
		}
	}
	return cpu() - began, nil
}

// replay runs the native function over the recorded calls in a process of its own.
func replay(ctx context.Context, file string) (took time.Duration, sum uint32, err error) {
	program, err := filepath.Abs(nativeBinary)
	if err != nil {
		return 0, 0, err
	}
	out, err := exec.CommandContext(ctx, program, file, strconv.Itoa(framedTurns)).Output()
	if err != nil {
		return 0, 0, fmt.Errorf("%w; build it by: go tool task guests:bench", err)
	}
	if _, err := fmt.Sscan(string(out), (*int64)(&took), &sum); err != nil {
		return 0, 0, fmt.Errorf("read what %s says: %w", nativeBinary, err)
	}
	return took, sum, nil
}

func checksum(answers [][]byte) uint32 {
	sum := crc32.NewIEEE()
	for _, a := range answers {
		sum.Write(a)
	}
	return sum.Sum32()
}
