package wasmhost

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tetratelabs/wazero/api"
)

// errImageTooLarge is why a memory is not kept as an image.
var errImageTooLarge = errors.New("too large for an image")

// image is everything that sets an opened instance apart from one that has just
// been instantiated: its memory, its mutable globals, and which functions are
// open. Modules that can change more than that (tables, segments) have no
// images; the rewriter's report says so.
//
// Clones share what the guest drew from WASI's randomness until the image was
// taken: Go's hash and generator seeds lie in its memory. That is no secret and no
// loss, because every instance starts with the seed 0, clone or not; random_get
// gives the seed of the call in a clone, too.
type image struct {
	module  *Module
	key     imageKey
	memory  *frozen
	pages   uint32
	globals []uint64   // in the order of the report
	opened  []function // in the order of opening
	handle  uint32     // of the function that was opened last
	users   int        // guarded by images.mu: one for the cache, one for each clone in the making
}

// takeImage copies an instance that has been opened and has handled no call.
func (in *Instance) takeImage(m *Module, handle uint32, limitBytes uint64) (*image, error) {
	if in.dead || in.stats.Calls > 0 {
		return nil, fmt.Errorf("take image of %s: the instance has been called, or has ended", m.digest)
	}
	im := &image{module: m, pages: in.mem.Size() / pageBytes, opened: slices.Clone(in.opened), handle: handle}
	for _, g := range m.report.Globals {
		im.globals = append(im.globals, in.mod.ExportedGlobal(g.Name).Get())
	}
	var err error
	if im.memory, err = freeze(in.memory.buf[:in.memory.size], limitBytes); err != nil {
		return nil, fmt.Errorf("take image of %s: %w", m.digest, err)
	}
	return im, nil
}

// clone makes an instance that stands where the image was taken.
func (im *image) clone(ctx context.Context, options InstanceOptions) (*Instance, error) {
	in, err := im.module.instance(options)
	if err != nil {
		return nil, err
	}
	// The engine writes the data segments, which the image replaces. Where the memory
	// grows to the image's size afterwards, they go where pages have been touched before.
	if least := im.module.report.MemoryMin; least < im.pages && !im.module.report.HasStart {
		scratch, ok := im.module.scratch.Get().(*[]byte)
		if !ok {
			scratch = new([]byte)
			*scratch = make([]byte, least*pageBytes)
		}
		in.memory.scratch = *scratch
		defer im.module.scratch.Put(scratch)
	}
	if err := in.start(ctx, im.module, options.Deadline); err != nil {
		return nil, errors.Join(err, in.Close(ctx))
	}
	if err := in.become(im); err != nil {
		return nil, errors.Join(err, in.Close(ctx))
	}
	return in, nil
}

// become takes on the image's state.
func (in *Instance) become(im *image) error {
	began := now()
	if have := in.mem.Size() / pageBytes; have < im.pages {
		if _, ok := in.mem.Grow(im.pages - have); !ok {
			return fmt.Errorf("grow memory to %d pages of an image", im.pages)
		}
	}
	in.memory.scratch = nil
	if err := im.memory.thaw(in.memory.buf); err != nil {
		return err
	}
	for i, g := range im.module.report.Globals {
		in.mod.ExportedGlobal(g.Name).(api.MutableGlobal).Set(im.globals[i])
	}
	in.opened = slices.Clone(im.opened)
	in.stats.GuestTime += max(now()-began, time.Nanosecond)
	return nil
}
