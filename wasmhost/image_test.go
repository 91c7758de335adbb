package wasmhost

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tetratelabs/wazero/api"
)

func opening(t testing.TB, h *Host, wasm []byte, namespace, request string) *Opening {
	t.Helper()
	m, err := h.Compile(t.Context(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	return m.Opening(namespace, []byte(request), InstanceOptions{})
}

func (o *Opening) must(t testing.TB) (*Instance, uint32) {
	t.Helper()
	in, handle, err := o.Instance(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return in, handle
}

// words is a model of the guest's counting of words.
type words map[string]int

func (w words) count(line string) string {
	for _, s := range strings.Fields(line) {
		w[s]++
	}
	out := ""
	for _, s := range slices.Sorted(maps.Keys(w)) {
		out += fmt.Sprintf("%s=%d ", s, w[s])
	}
	return out
}

func TestClonesBeginWhereTheImageWasTakenAndSeeNothingOfOneAnother(t *testing.T) {
	h := newHost(t, Options{})
	o := opening(t, h, buildGoGuest(t), "a", "")
	type live struct {
		in     *Instance
		handle uint32
		model  words
	}
	rng := rand.New(rand.NewPCG(1, 7))
	all := make([]live, 5)
	for i := range all {
		all[i].in, all[i].handle = o.must(t)
		all[i].model = words{}
	}
	made := len(all)
	for step := range 600 {
		l := &all[rng.IntN(len(all))]
		if rng.IntN(10) == 0 { // the host may replace an instance between any two calls
			if err := l.in.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			l.in, l.handle = o.must(t)
			l.model = words{}
			made++
		}
		// Enough distinct words make maps grow, and the collector run.
		line := strings.Repeat(fmt.Sprintf("w%d ", rng.IntN(300)), 1+rng.IntN(40))
		out, err := call(t.Context(), l.in, l.handle, text(1, 0, line), CallOptions{Seed: rng.Uint64()})
		if want := l.model.count(line); err != nil || string(out) != want {
			t.Fatalf("step %d: %q, %v, want %q", step, out, err, want)
		}
	}
	if s := h.Images(); s.Taken != 1 || int(s.Used) != made-1 || s.Kept != 1 || s.Bytes == 0 {
		t.Errorf("%d instances, and %+v", made, s)
	}
}

func TestACloneThatGrowsItsMemoryLeavesOthersAsTheyAre(t *testing.T) {
	h := newHost(t, Options{})
	o := opening(t, h, buildGoGuest(t), "a", "")
	first, _ := o.must(t)
	before := first.Stats().MemoryBytes
	big, handle := o.must(t)
	quiet, quietHandle := o.must(t)
	if _, err := call(t.Context(), big, handle, text(6, 0, ""), CallOptions{Deadline: time.Now().Add(20 * time.Second)}); !errors.Is(err, ErrMemory) {
		t.Fatalf("memory without end: %v", err)
	}
	if got := big.Stats().MemoryBytes; got <= before {
		t.Errorf("the greedy clone has %d bytes, it began with %d", got, before)
	}
	late, lateHandle := o.must(t)
	for _, c := range []struct {
		in     *Instance
		handle uint32
	}{{quiet, quietHandle}, {late, lateHandle}} {
		if got := c.in.Stats().MemoryBytes; got != before {
			t.Errorf("another clone has %d bytes of memory, want %d", got, before)
		}
		if out, err := call(t.Context(), c.in, c.handle, text(1, 0, "a"), CallOptions{}); err != nil || string(out) != "a=1 " {
			t.Errorf("another clone says %q, %v", out, err)
		}
	}
}

func TestGlobalsOfACloneAreThoseOfTheImage(t *testing.T) {
	h := newHost(t, Options{})
	in, handle := newInstance(t, h, buildGoGuest(t), InstanceOptions{})
	m, err := h.Compile(t.Context(), buildGoGuest(t))
	if err != nil {
		t.Fatal(err)
	}
	globals := m.Report().Globals
	if len(globals) == 0 {
		t.Fatal("a Go guest keeps its stack pointer in a global, and the report names none")
	}
	for i, g := range globals { // values that no start would give
		in.mod.ExportedGlobal(g.Name).(api.MutableGlobal).Set(uint64(1000 + i))
	}
	im, err := in.takeImage(m, handle, MaxImageBytes)
	if err != nil {
		t.Fatal(err)
	}
	defer im.memory.free()
	clone, err := im.clone(t.Context(), InstanceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer clone.Close(context.Background())
	for i, g := range globals {
		if got := clone.mod.ExportedGlobal(g.Name).Get(); got != uint64(1000+i) {
			t.Errorf("%s is %d, want %d", g.Name, got, 1000+i)
		}
	}
}

func TestWhatAGuestDrawsInACallComesFromTheCallsSeedInClonesToo(t *testing.T) {
	warm := opening(t, newHost(t, Options{}), buildGoGuest(t), "a", "")
	cold := opening(t, newHost(t, Options{ColdStarts: true}), buildGoGuest(t), "a", "")
	warm.must(t)
	draw := func(o *Opening, seed uint64) string {
		in, handle := o.must(t)
		out, err := call(t.Context(), in, handle, text(12, 0, ""), CallOptions{Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	seen := map[string]uint64{}
	for seed := range uint64(5) {
		got := draw(warm, seed)
		if want := draw(cold, seed); got != want {
			t.Errorf("with seed %d a clone draws %s, a fresh instance %s", seed, got, want)
		}
		if other, dup := seen[got]; dup {
			t.Errorf("seeds %d and %d give the same randomness", seed, other)
		}
		seen[got] = seed
	}
}

func TestAModuleThatChangesTablesIsInstantiatedEachTime(t *testing.T) {
	h := newHost(t, Options{})
	o := opening(t, h, hostileWasm, "a", "")
	if got := o.module.Report().ImageObstacles; !slices.Contains(got, "changes tables at run time") {
		t.Fatalf("obstacles %q", got)
	}
	for range 3 {
		in, handle := o.must(t)
		if _, err := call(t.Context(), in, handle, command(20, 0), CallOptions{}); !errors.Is(err, ErrTrap) {
			t.Errorf("a trap is %v", err)
		}
	}
	if s := h.Images(); s != (ImageStats{}) {
		t.Errorf("images of it: %+v", s)
	}
}

func TestARefusalToOpenIsTheGuestsOwnEachTime(t *testing.T) {
	o := opening(t, newHost(t, Options{}), hostileWasm, "a", "\x03\x00\x00\x00")
	for range 3 {
		if _, _, err := o.Instance(t.Context()); !errors.Is(err, ErrOpen) || !strings.Contains(err.Error(), "not now!") {
			t.Errorf("%v", err)
		}
	}
}

func TestMisdeedsOfClonesAreNamedAsThoseOfOthers(t *testing.T) {
	o := opening(t, newHost(t, Options{}), buildGoGuest(t), "a", "")
	o.must(t)
	for cmd, want := range map[uint32]error{4: ErrTrap, 5: ErrWait, 7: ErrStack, 9: ErrExit, 10: ErrTrap} {
		in, handle := o.must(t)
		_, err := call(t.Context(), in, handle, text(cmd, 0, ""), CallOptions{Deadline: time.Now().Add(20 * time.Second)})
		var trap *Trap
		if !errors.Is(err, want) || !errors.As(err, &trap) || trap.Progress != 3 {
			t.Errorf("command %d: %v, want %v at cause 3", cmd, err, want)
		}
	}
}

func TestImagesAreNotSharedBetweenNamespacesNorBetweenRequests(t *testing.T) {
	h := newHost(t, Options{})
	for i, o := range []*Opening{
		opening(t, h, buildGoGuest(t), "a", ""), opening(t, h, buildGoGuest(t), "b", ""), opening(t, h, buildGoGuest(t), "a", "x"),
	} {
		o.must(t)
		if s := h.Images(); int(s.Taken) != i+1 || s.Used != 0 {
			t.Errorf("after opening %d: %+v", i, s)
		}
	}
}

func TestAnInstanceThatWasCalledGivesNoImage(t *testing.T) {
	h := newHost(t, Options{})
	in, handle := newInstance(t, h, buildGoGuest(t), InstanceOptions{})
	m, err := h.Compile(t.Context(), buildGoGuest(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := call(t.Context(), in, handle, text(1, 0, "secret"), CallOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := in.takeImage(m, handle, MaxImageBytes); err == nil {
		t.Error("an image of what a call left behind")
	}
}

func TestTheLeastRecentlyUsedImageMakesRoom(t *testing.T) {
	h := newHost(t, Options{})
	wasm := buildGoGuest(t)
	old := opening(t, h, wasm, "a", "old")
	old.must(t)
	each := h.Images().Bytes
	fit := int(min(MaxImages, MaxImageBytes/each))
	for i := range fit {
		in, _, err := opening(t, h, wasm, "a", fmt.Sprint(i)).Instance(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := in.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s := h.Images()
	if s.Kept > MaxImages || s.Bytes > MaxImageBytes || s.Used != 0 {
		t.Fatalf("%+v", s)
	}
	old.must(t)
	if again := h.Images(); again.Used != 0 || again.Taken != s.Taken+1 {
		t.Errorf("the oldest was still there: %+v", again)
	}
	opening(t, h, wasm, "a", fmt.Sprint(fit-1)).must(t)
	if h.Images().Used != 1 {
		t.Error("the newest is gone")
	}
}

// procEntries counts the entries of a file of /proc, or of a folder there.
func procEntries(t *testing.T, path string) int {
	t.Helper()
	if entries, err := os.ReadDir(path); err == nil {
		return len(entries)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Skip("needs /proc")
	}
	return strings.Count(string(b), "\n")
}

func TestAThousandClonesLeaveNoFilesAndNoMapsBehind(t *testing.T) {
	h := newHost(t, Options{})
	o := opening(t, h, buildGoGuest(t), "a", "")
	o.must(t)
	turn := func() {
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for range 25 {
					in, handle, err := o.Instance(context.Background())
					if err != nil {
						t.Error(err)
						return
					}
					if out, err := call(context.Background(), in, handle, text(1, 0, "a"), CallOptions{}); err != nil || string(out) != "a=1 " {
						t.Errorf("%q, %v", out, err)
					}
					if err := in.Close(context.Background()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
	}
	turn()
	files, ranges := procEntries(t, "/proc/self/fd"), procEntries(t, "/proc/self/maps")
	for range 10 {
		turn()
	}
	// Go's own heap takes or joins a few ranges meanwhile; a clone that leaks would add 1,000.
	if f, m := procEntries(t, "/proc/self/fd"), procEntries(t, "/proc/self/maps"); f > files+2 || m > ranges+50 {
		t.Errorf("%d files, %d at first; %d maps, %d at first", f, files, m, ranges)
	}
	h.images.close()
	if s := h.Images(); s.Kept != 0 || s.Bytes != 0 {
		t.Errorf("after the end %+v", s)
	}
}
