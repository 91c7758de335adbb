package guest

import (
	"encoding/binary"
	"errors"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"github.com/weirstream/weir/sdk/go/internal/abi"
	"github.com/weirstream/weir/sdk/go/internal/wire"
)

var le = binary.LittleEndian

func bits(ids ...int) (known uint64) {
	for _, id := range ids {
		known |= 1 << id
	}
	return known
}

var (
	knownDescribe = bits(abi.SectionParams)
	knownOpen     = bits(abi.SectionFunction, abi.SectionConfig, abi.SectionCapabilities, abi.SectionSchemas, abi.SectionAsset)
	knownCall     = bits(abi.SectionCall, abi.SectionRows, abi.SectionCauses, abi.SectionSlots, abi.SectionTimes, abi.SectionKeys, abi.SectionState, abi.SectionMeta, abi.SectionKinds)
)

// Instance is one instance of a module: what was opened in it.
type Instance struct {
	Module *Module
	opened []opened
	out    wire.Builder
}

type opened struct {
	fn     *Function
	config any
	assets []any // of Function.Assets, as they were decoded
}

// Open answers weir_open.
func (in *Instance) Open(data []byte) []byte {
	handle, err := in.open(data)
	in.out.Reset(abi.KindOpened, 1)
	if err != nil {
		in.out.Section(abi.SectionOpenError, must, 0, []byte(err.Error()))
		return in.out.Finish()
	}
	var body [8]byte
	le.PutUint32(body[:], uint32(handle))
	le.PutUint32(body[4:], uint32(uintptr(unsafe.Pointer(&Progress))))
	in.out.Section(abi.SectionHandle, must, 0, body[:])
	return in.out.Finish()
}

func (in *Instance) open(data []byte) (int, error) {
	var frame wire.Container
	if err := frame.Parse(data, abi.KindOpen, knownOpen, "guest"); err != nil {
		return 0, err
	}
	nameBytes, _ := frame.Find(abi.SectionFunction, 0)
	name := string(nameBytes)
	if err := in.Module.Check(); err != nil {
		return 0, err
	}
	fn := in.Module.Function(name)
	if fn == nil {
		return 0, errors.New("open function " + quote(name) + ": the module has only " + strings.Join(in.Module.names(), ", "))
	}
	granted, _ := frame.Find(abi.SectionCapabilities, 0)
	for _, need := range fn.Requires {
		if !hasLine(string(granted), need) {
			return 0, errors.New("open function " + quote(name) + ": it needs the capability " + need + ", which the host has not granted")
		}
	}
	o := opened{fn: fn}
	if fn.Configure != nil {
		config, _ := frame.Find(abi.SectionConfig, 0)
		if len(config) == 0 {
			config = []byte("{}")
		}
		var err error
		// The argument's buffer is used again; what the configuration keeps of it must not change.
		if o.config, err = fn.Configure([]byte(string(config))); err != nil {
			return 0, errors.New("open function " + quote(name) + ": config: " + err.Error())
		}
	}
	for _, declared := range fn.Assets {
		content, err := assetNamed(&frame, declared.Name)
		if err != nil {
			return 0, errors.New("open function " + quote(name) + ": " + err.Error())
		}
		value, err := declared.Decode(content)
		if err != nil {
			return 0, errors.New("open function " + quote(name) + ": asset " + declared.Name + ": " + err.Error())
		}
		o.assets = append(o.assets, value)
	}
	in.opened = append(in.opened, o)
	return len(in.opened) - 1, nil
}

// assetNamed finds an asset and copies it: the argument's buffer is used again.
func assetNamed(frame *wire.Container, want string) (content []byte, err error) {
	found := false
	var names []string
	err = frame.Each(abi.SectionAsset, func(_ uint32, body []byte) error {
		name, data, err := asset(body)
		if err != nil {
			return err
		}
		names = append(names, name)
		if name == want {
			found, content = true, []byte(string(data))
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case !found && len(names) == 0:
		return nil, errors.New("the module came without assets, and it wants " + want + ": weir module push FILE.wasm --asset " + want + "=FILE")
	case !found:
		return nil, errors.New("the module came without the asset " + want + ", only with " + strings.Join(names, ", "))
	}
	return content, nil
}

func asset(body []byte) (name string, content []byte, err error) {
	if len(body) < 4 {
		return "", nil, errors.New("an asset without a name")
	}
	n := int(le.Uint32(body))
	at := (4 + n + 7) &^ 7
	if n > len(body)-4 || at > len(body) {
		return "", nil, errors.New("an asset with a wrong name length")
	}
	return string(body[4 : 4+n]), body[at:], nil
}

func hasLine(lines, line string) bool {
	for l := range strings.SplitSeq(lines, "\n") {
		if l == line {
			return true
		}
	}
	return false
}

// Call answers weir_call.
func (in *Instance) Call(handle int, data []byte) []byte {
	if handle < 0 || handle >= len(in.opened) {
		Fatal("call with handle " + strconv.Itoa(handle) + ", which no open returned")
	}
	o := &in.opened[handle]
	c := o.fn.Call
	Progress = abi.NoProgress
	finished := false
	defer func() {
		if !finished {
			Log(abi.LogError, c.where()+": the handler panicked; the panic and its stack follow")
		}
	}()
	if err := c.begin(o, data); err != nil {
		finished = true
		Fatal("call of function " + quote(o.fn.Name) + ": " + err.Error())
	}
	goroutines := runtime.NumGoroutine()
	c.run()
	if runtime.NumGoroutine() > goroutines && stillWorking(goroutines) {
		finished = true
		Fatal("function " + quote(o.fn.Name) + ": a goroutine that a handler started is still at work when the call returns: wait for it; nothing survives a call")
	}
	finished = true
	Progress = abi.NoProgress
	flushMetrics()
	return c.effects()
}

// stillWorking lets goroutines that are about to end do so, and says whether more than before remain.
func stillWorking(before int) bool {
	for range 64 {
		runtime.Gosched()
		if runtime.NumGoroutine() <= before {
			return false
		}
	}
	return confirmWorking()
}

func (c *Call) where() string {
	what := "function " + quote(c.Fn.Name)
	if Progress == abi.NoProgress {
		return what
	}
	return what + ", cause " + strconv.Itoa(int(Progress))
}

// Fatal ends the call as a trap: the fault is the host's or cannot be laid on one cause.
func Fatal(text string) {
	Log(abi.LogError, text)
	panic("weir: " + text)
}

func quote(s string) string { return strconv.Quote(s) }
