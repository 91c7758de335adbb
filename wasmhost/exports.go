package wasmhost

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero/api"

	"github.com/weirstream/weir/abi"
)

// Minor asks the guest which minor version of the contract it was built for.
func (in *Instance) Minor(ctx context.Context) (uint32, error) {
	if in.dead {
		return 0, ErrInstanceDead
	}
	in.begin(ctx, CallOptions{}, DefaultTimeout)
	defer in.finish()
	if err := in.invoke(exportABI, in.export(exportABI)); err != nil {
		return 0, err
	}
	return uint32(in.stack[0]), nil
}

// Describe hands in a describe container and returns the manifest, a view that
// is valid until the next call.
func (in *Instance) Describe(ctx context.Context, container []byte, options CallOptions) ([]byte, error) {
	return in.exchange(ctx, exportDescribe, container, options)
}

// Open hands in an open container and returns the function's handle. The guest's
// own refusal wraps ErrOpen and leaves the instance alive.
func (in *Instance) Open(ctx context.Context, container []byte, options CallOptions) (uint32, error) {
	out, err := in.exchange(ctx, exportOpen, container, options)
	if err != nil {
		return 0, err
	}
	f, refusal, err := readOpened(out)
	if err != nil {
		return 0, in.fail(exportOpen, ErrBadAnswer, "%v", err)
	}
	if refusal != "" {
		return 0, fmt.Errorf("%w: %s", ErrOpen, refusal)
	}
	if f.progress%4 != 0 || f.progress == 0 || uint64(f.progress)+4 > uint64(in.mem.Size()) {
		return 0, in.fail(exportOpen, ErrBadPointer, "progress word at %d, the memory has %d bytes; it is an aligned address", f.progress, in.mem.Size())
	}
	for i := range in.opened {
		if in.opened[i].handle == f.handle {
			in.opened[i] = f
			return f.handle, nil
		}
	}
	in.opened = append(in.opened, f)
	return f.handle, nil
}

// Call runs a function. It asks the guest for size bytes, lets write fill them,
// and returns the guest's answer: a view of its memory, valid until the next
// call of the instance. In the steady state it allocates nothing.
func (in *Instance) Call(ctx context.Context, handle uint32, size int, write func(dst []byte), options CallOptions) ([]byte, error) {
	if in.dead {
		return nil, ErrInstanceDead
	}
	in.handle, in.at = handle, 0
	for i := range in.opened {
		if in.opened[i].handle == handle {
			in.at = in.opened[i].progress
		}
	}
	if in.at == 0 {
		return nil, fmt.Errorf("call function: handle %d is not open", handle)
	}
	in.begin(ctx, options, DefaultTimeout)
	defer in.finish()
	dst, ptr, err := in.room(exportCall, size)
	if err != nil {
		return nil, err
	}
	write(dst)
	in.meter.began = now() // writing the input is the host's own time
	in.stats.Calls++
	in.stack[0], in.stack[1], in.stack[2] = uint64(handle), uint64(ptr), uint64(size)
	if err := in.invoke(exportCall, in.caller); err != nil {
		return nil, err
	}
	return in.answer(exportCall, options)
}

// exchange is the way of all exports that take one buffer.
func (in *Instance) exchange(ctx context.Context, name string, input []byte, options CallOptions) ([]byte, error) {
	if in.dead {
		return nil, ErrInstanceDead
	}
	in.handle, in.at = 0, 0
	in.begin(ctx, options, DefaultOpenTimeout)
	defer in.finish()
	dst, ptr, err := in.room(name, len(input))
	if err != nil {
		return nil, err
	}
	copy(dst, input)
	in.stack[0], in.stack[1] = uint64(ptr), uint64(len(input))
	if err := in.invoke(name, in.export(name)); err != nil {
		return nil, err
	}
	return in.answer(name, options)
}

// room asks the guest for a buffer. The memory may have grown, so it is looked
// up only afterwards.
func (in *Instance) room(export string, size int) ([]byte, uint32, error) {
	if limit := in.maxInput(export); size < 0 || size > limit {
		return nil, 0, fmt.Errorf("%s: %w: %d bytes, the limit is %d; cut the batch", export, ErrInputTooLarge, size, limit)
	}
	if size == 0 {
		return nil, 0, nil
	}
	in.stack[0] = uint64(size)
	if err := in.invoke(exportAlloc, in.alloc); err != nil {
		return nil, 0, err
	}
	ptr := api.DecodeU32(in.stack[0])
	if ptr == 0 {
		if in.memory.denied {
			return nil, 0, in.fail(exportAlloc, ErrMemory, "%s", in.memory.detail())
		}
		return nil, 0, in.fail(exportAlloc, ErrMemory, "the guest has no room for %d bytes; raise the function's memory limit", size)
	}
	dst, ok := in.mem.Read(ptr, uint32(size))
	if !ok || ptr%8 != 0 {
		return nil, 0, in.fail(exportAlloc, ErrBadPointer, "%d bytes at %d, the memory has %d; addresses are divisible by 8", size, ptr, in.mem.Size())
	}
	return dst, ptr, nil
}

// maxInput is larger for opening, because assets come with it.
func (in *Instance) maxInput(export string) int {
	if export == exportOpen {
		return int(in.memory.capBytes)
	}
	return maxInputBytes
}

// answer checks the packed result.
func (in *Instance) answer(export string, options CallOptions) ([]byte, error) {
	limit := options.MaxOutputBytes
	if limit == 0 {
		limit = DefaultMaxOutputBytes
	}
	ptr, length := uint32(in.stack[0]>>32), uint32(in.stack[0])
	if length > limit {
		return nil, in.fail(export, ErrOutputTooLarge, "%d bytes, the limit is %d; return earlier with status more, or raise the function's output limit", length, limit)
	}
	out, ok := in.mem.Read(ptr, length)
	if !ok {
		return nil, in.fail(export, ErrBadPointer, "answer of %d bytes at %d, the memory has %d", length, ptr, in.mem.Size())
	}
	return out, nil
}

// readOpened reads an opened container: a handle and a progress word, or a refusal.
func readOpened(b []byte) (f function, refusal string, err error) {
	if len(b) < abi.ContainerHeaderSize || u32At(b, 0) != abi.MagicContainer || uint64(u32At(b, 4)) > uint64(len(b)) {
		return f, "", fmt.Errorf("no container of %d bytes", len(b))
	}
	kind, sections := u32At(b, 8)&0xffff, int(u32At(b, 8)>>16)
	if kind != abi.ContainerOpened || abi.ContainerHeaderSize+sections*abi.ContainerEntrySize > len(b) {
		return f, "", fmt.Errorf("container of kind %d with %d sections in %d bytes", kind, sections, len(b))
	}
	for i := range sections {
		e := b[abi.ContainerHeaderSize+i*abi.ContainerEntrySize:]
		id, flags, offset, length := u32At(e, 0)&0xffff, u32At(e, 0)>>16, u32At(e, 8), u32At(e, 12)
		if uint64(offset)+uint64(length) > uint64(len(b)) {
			return f, "", fmt.Errorf("section %d at %d of %d bytes lies outside", id, offset, length)
		}
		body := b[offset : offset+length]
		switch {
		case id == abi.OpenedSectionHandle && length == abi.OpenedHandleSize:
			return function{handle: u32At(body, 0), progress: u32At(body, 4)}, "", nil
		case id == abi.OpenedSectionError:
			return f, nonEmpty(string(body)), nil
		case flags&abi.SectionMustUnderstand != 0:
			return f, "", fmt.Errorf("unknown section %d in opened: upgrade the host", id)
		}
	}
	return f, "", fmt.Errorf("neither handle nor error")
}

func nonEmpty(s string) string {
	if s == "" {
		return "no reason given"
	}
	return s
}
