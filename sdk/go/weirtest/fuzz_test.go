package weirtest

import (
	"bytes"
	"reflect"
	"testing"
	"unsafe"

	weir "github.com/weirstream/weir/sdk/go"
	"github.com/weirstream/weir/sdk/go/internal/guest"
	"github.com/weirstream/weir/sdk/go/internal/record"
	"github.com/weirstream/weir/sdk/go/internal/wire"
)

// aligned copies bytes to a multiple of 8, where frames stand.
func aligned(b []byte) []byte { return append(make([]byte, 0, len(b)+8), b...) }

// FuzzCall gives the guest damaged frames: it answers or stops with a named error, and never reads outside of the frame.
func FuzzCall(f *testing.F) {
	h, frame := steadyCall(f)
	f.Add(frame[:len(frame)/8*8])
	rows := [][]any{{int64(1), int64(1), int64(2)}, {int64(5), int64(6), int64(7)}, {"a", "", "ccc"}}
	in := h.fn.Inputs[0]
	block, err := encodeBlock(in.cols, rows, 3)
	if err != nil {
		f.Fatal(err)
	}
	keys, err := encodeBlock(h.fn.key, [][]any{{int64(1), int64(2)}}, 2)
	if err != nil {
		f.Fatal(err)
	}
	state, err := encodeBlock(stateSchema, [][]any{{[]byte{8, 2, 16, 4}, nil}}, 2)
	if err != nil {
		f.Fatal(err)
	}
	head := make([]byte, 64)
	head[24], head[28] = 3, 2
	f.Add(encodeContainer(1, section{id: 1, must: true, body: head}, section{id: 2, must: true, body: block}, section{id: 4, must: true, body: []byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}},
		section{id: 6, must: true, body: keys}, section{id: 7, must: true, body: state}))
	f.Fuzz(func(t *testing.T, data []byte) {
		guest.Enter(imports{h}, func() {
			h.overlay = &overlay{}
			defer func() {
				if r := recover(); r != nil {
					if text, ok := r.(string); !ok || !bytes.HasPrefix([]byte(text), []byte("weir: ")) {
						t.Errorf("a panic without a name: %v", r)
					}
				}
			}()
			if _, err := decodeContainer(2, h.instance.Call(h.handle, aligned(data))); err != nil {
				t.Error(err)
			}
		})
	})
}

type fuzzedNested struct {
	L vectorList
	P vectorPoint
	M map[int32]*[]byte
	S []struct {
		A weir.Decimal `weir:"a,decimal(9,2)"`
		B []bool
	}
}

// FuzzNestedColumns reads damaged lists, structs and maps. What is read is written to something that is read as the same.
func FuzzNestedColumns(f *testing.F) {
	cols, err := record.ColumnsOf(reflect.TypeFor[fuzzedNested]())
	if err != nil {
		f.Fatal(err)
	}
	parsed, err := parseSchema(cols.Text())
	if err != nil {
		f.Fatal(err)
	}
	row := fuzzedNested{M: map[int32]*[]byte{1: nil, 2: {'x'}}}
	row.S = append(row.S, struct {
		A weir.Decimal `weir:"a,decimal(9,2)"`
		B []bool
	}{weir.NewDecimal(150, 2), []bool{true, false}})
	values, err := toValues(parsed, row)
	if err != nil {
		f.Fatal(err)
	}
	columns := make([][]any, len(values))
	for i, v := range values {
		columns[i] = []any{v, v}
	}
	block, err := encodeBlock(parsed, columns, 2)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(block)
	load := func(data []byte) (rows []fuzzedNested, ok bool) {
		var b wire.Block
		if b.Parse(aligned(data), cols.Kinds) != nil || b.Rows < 1 || b.Rows > 100 {
			return nil, false
		}
		rows = make([]fuzzedNested, b.Rows)
		return rows, cols.Load(unsafe.Pointer(&rows[0]), unsafe.Sizeof(rows[0]), &b, 0, b.Rows) == nil
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rows, ok := load(data)
		if !ok {
			return
		}
		for i := range rows {
			if cols.Check(unsafe.Pointer(&rows[i])) != nil {
				return // more digits than the column has
			}
		}
		var out wire.Builder
		out.Reset(1, 1)
		out.Begin(2, 1, 0)
		cols.Store(&out, unsafe.Pointer(&rows[0]), unsafe.Sizeof(rows[0]), len(rows))
		out.End()
		sections, err := decodeContainer(1, out.Finish())
		if err != nil {
			t.Fatal(err)
		}
		written := find(sections, 2, 0)
		size := 0
		for i := range rows {
			size += cols.Size(unsafe.Pointer(&rows[i]))
		}
		if overhead := 16 + 24*len(cols.Kinds) + 24*len(cols.Kinds); len(written) > size+overhead {
			t.Errorf("%d bytes, the bound is %d", len(written), size+overhead)
		}
		again, ok := load(written)
		if !ok || !reflect.DeepEqual(again, rows) {
			t.Errorf("%v is read again as %v, %v", rows, again, ok)
		}
	})
}

// FuzzStateRow reads damaged values of state. What is read is written to something that is read as the same.
func FuzzStateRow(f *testing.F) {
	f.Add([]byte{8, 5, 16, 128, 137, 122})
	f.Add([]byte("\x0a\x06\x08\x0e\x12\x02in\x12\x07\x01\x01\x04\x01\x01\x01z"))
	nested, err := record.RowOf(reflect.TypeFor[vectorNested]())
	if err != nil {
		f.Fatal(err)
	}
	total, err := record.RowOf(reflect.TypeFor[steadyTotal]())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v, again vectorNested
		if nested.Decode(unsafe.Pointer(&v), data) == nil {
			written := nested.Append(nil, unsafe.Pointer(&v))
			if err := nested.Decode(unsafe.Pointer(&again), written); err != nil || len(v.L) != len(again.L) || v.P != again.P {
				t.Errorf("%v is read again as %v, %v", v, again, err)
			}
			if nested.Size(unsafe.Pointer(&v)) < len(written) {
				t.Errorf("the bound is below %d bytes", len(written))
			}
		}
		checkSweep(t, total, data)
	})
}

// checkSweep holds DecodeAll against Decode.
func checkSweep(t *testing.T, row *record.Row, data []byte) {
	t.Helper()
	block, err := encodeBlock(stateSchema, [][]any{{data, nil}}, 2)
	if err != nil {
		t.Fatal(err)
	}
	var b wire.Block
	if err := b.Parse(aligned(block), []wire.Kind{wire.Binary}); err != nil {
		t.Fatal(err)
	}
	var swept [2]steadyTotal
	var flags [2]uint8
	row.DecodeAll(unsafe.Pointer(&swept), unsafe.Sizeof(swept[0]), &b.Columns[0], flags[:], 1, 3)
	if flags[1] != 1 {
		t.Errorf("an absent value has flags %d", flags[1])
	}
	if flags[0] == 0 {
		return
	}
	var one steadyTotal
	if err := row.Decode(unsafe.Pointer(&one), data); err != nil || one != swept[0] {
		t.Errorf("DecodeAll reads %v, Decode %v, %v", swept[0], one, err)
	}
}

// FuzzEffects reads damaged answers of a guest.
func FuzzEffects(f *testing.F) {
	cols, err := parseSchema("k:utf8?,n:int32,d:decimal(9,2)?,h:map<utf8,binary>?")
	if err != nil {
		f.Fatal(err)
	}
	block, err := encodeBlock(cols, [][]any{{"a", nil}, {int64(1), int64(2)}, {nil, nil}, {map[string][]byte{"x": {1}}, nil}}, 2)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encodeContainer(2, section{id: 3, must: true, body: block}))
	f.Fuzz(func(t *testing.T, data []byte) {
		sections, err := decodeContainer(2, data)
		if err != nil {
			return
		}
		for _, s := range sections {
			values, rows, err := decodeBlock(cols, s.body)
			if err == nil && len(values[0]) != rows {
				t.Errorf("%d values in %d rows", len(values[0]), rows)
			}
		}
	})
}

// FuzzSchema reads damaged schemas.
func FuzzSchema(f *testing.F) {
	f.Add("a:int8,`b c`:list<map<utf8,decimal(3,1)?>>?")
	f.Fuzz(func(t *testing.T, text string) {
		if cols, err := parseSchema(text); err == nil && len(cols) == 0 {
			t.Error("a schema without columns")
		}
	})
}
