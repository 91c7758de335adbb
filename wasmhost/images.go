package wasmhost

import (
	"container/list"
	"context"
	"crypto/sha256"
	"errors"
	"sync"
)

// Limits of the images that a host keeps. The least recently used go first.
const (
	MaxImages     = 256
	MaxImageBytes = 256 << 20 // of all together
)

// imageKey is everything that an opened instance depends on. Images never cross
// from one namespace to another, even if all else is the same.
type imageKey struct {
	namespace string
	module    Digest
	request   [sha256.Size]byte
	pages     uint32
}

// images are those of one host. Safe for use by several goroutines.
type images struct {
	mu     sync.Mutex // guards all below
	kept   map[imageKey]*list.Element
	recent *list.List            // of *image, the last used in front
	taking map[imageKey]struct{} // somebody is at it: others start without
	closed bool
	stats  ImageStats
}

// ImageStats are counters of a host's images.
type ImageStats struct {
	Taken uint64
	Used  uint64 // instances that were cloned
	Kept  int
	Bytes uint64 // that the kept ones hold
}

func newImages() *images {
	return &images{kept: map[imageKey]*list.Element{}, recent: list.New(), taking: map[imageKey]struct{}{}}
}

// acquire finds an image, for release after use. Without one it tells whether
// the caller is to take it, and then to call keep or forgo.
func (s *images) acquire(key imageKey) (im *image, take bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.kept[key]; ok {
		s.recent.MoveToFront(e)
		im = e.Value.(*image)
		im.users++
		return im, false
	}
	if _, busy := s.taking[key]; busy || s.closed {
		return nil, false
	}
	s.taking[key] = struct{}{}
	return nil, true
}

// release ends the use of an image that acquire gave.
func (s *images) release(im *image, cloned bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cloned {
		s.stats.Used++
	}
	s.drop(im)
}

// drop gives up one use; mu is held.
func (s *images) drop(im *image) {
	if im.users--; im.users == 0 {
		im.memory.free()
	}
}

// forgo tells that no image came of a take.
func (s *images) forgo(key imageKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.taking, key)
}

// keep stores an image and makes room for it.
func (s *images) keep(key imageKey, im *image) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.taking, key)
	s.stats.Taken++
	im.key, im.users = key, 1
	if s.closed {
		s.drop(im)
		return
	}
	s.kept[key] = s.recent.PushFront(im)
	s.stats.Kept++
	s.stats.Bytes += im.memory.heldBytes
	for s.stats.Kept > MaxImages || s.stats.Bytes > MaxImageBytes {
		s.evict(s.recent.Back())
	}
}

// evict takes an image out; mu is held.
func (s *images) evict(e *list.Element) {
	im := s.recent.Remove(e).(*image)
	delete(s.kept, im.key)
	s.stats.Kept--
	s.stats.Bytes -= im.memory.heldBytes
	s.drop(im)
}

// forget evicts the images of a module.
func (s *images) forget(module Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, e := range s.kept {
		if key.module == module {
			s.evict(e)
		}
	}
}

// close evicts all and takes no more.
func (s *images) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, e := range s.kept {
		s.evict(e)
	}
}

// Images reads the counters of the host's images.
func (h *Host) Images() ImageStats {
	h.images.mu.Lock()
	defer h.images.mu.Unlock()
	return h.images.stats
}

// Opening is a function that is opened in one instance after the other: the first
// is instantiated and opened, and those that follow are clones of its image.
type Opening struct {
	module  *Module
	request []byte
	key     imageKey
	options InstanceOptions
}

// Opening prepares to open a function with a container of weir_open, which it
// keeps. Instances of one namespace alone share images.
func (m *Module) Opening(namespace string, request []byte, options InstanceOptions) *Opening {
	return &Opening{module: m, request: request, options: options,
		key: imageKey{namespace, m.digest, sha256.Sum256(request), m.pages(options)}}
}

// MemoryBytes is the most linear memory that an instance may have.
func (o *Opening) MemoryBytes() uint64 { return uint64(o.module.pages(o.options)) * pageBytes }

// Instance gives a new instance with the function open, and its handle. Where no
// image can be had it is instantiated and opened, and the caller sees no difference.
func (o *Opening) Instance(ctx context.Context) (*Instance, uint32, error) {
	if !o.module.warms() {
		return o.instantiate(ctx)
	}
	s := o.module.host.images
	im, take := s.acquire(o.key)
	if im != nil {
		in, err := im.clone(ctx, o.options)
		s.release(im, err == nil)
		if err == nil {
			return in, im.handle, nil
		}
		return o.instantiate(ctx)
	}
	in, handle, err := o.instantiate(ctx)
	if !take {
		return in, handle, err
	}
	if err != nil {
		s.forgo(o.key)
		return nil, 0, err
	}
	// An instance without an image is as good, only slower to make.
	if im, refused := in.takeImage(o.module, handle, MaxImageBytes); refused != nil {
		s.forgo(o.key)
	} else {
		s.keep(o.key, im)
	}
	return in, handle, nil
}

// warms tells whether the module has images. Its globals can be reached only
// where the rewriter has exported them.
func (m *Module) warms() bool {
	o := &m.host.options
	return !o.ColdStarts && !o.Unmetered && len(m.report.ImageObstacles) == 0
}

func (o *Opening) instantiate(ctx context.Context) (*Instance, uint32, error) {
	in, err := o.module.Instantiate(ctx, o.options)
	if err != nil {
		return nil, 0, err
	}
	handle, err := in.Open(ctx, o.request, CallOptions{})
	if err != nil {
		return nil, 0, errors.Join(err, in.Close(ctx))
	}
	return in, handle, nil
}
