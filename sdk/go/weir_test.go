package weir_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	weir "github.com/weirstream/weir/sdk/go"
	"github.com/weirstream/weir/sdk/go/internal/guest"
	"github.com/weirstream/weir/sdk/go/weirtest"
)

type click struct {
	User string
	N    int64
	Note *string
}

type order struct {
	User  string
	Price weir.Decimal `weir:"price,decimal(10,2)"`
	Day   weir.Date
	Blob  []byte
}

type summary struct {
	User  string
	Count int64
	Text  string
}

type profile struct {
	Notes []string
	Total int64
}

var (
	shop    = weir.Keyed("shop", "user").With(weir.Positions())
	clicks  = weir.In[click](shop, "clicks")
	orders  = weir.In[order](shop, "orders")
	sums    = weir.Out[summary](shop)
	odd     = weir.Side[summary](shop, "odd")
	prof    = weir.ValueOf[profile](shop, "profile", weir.MaxBytes(200))
	largest = weir.ReducingOf(shop, "largest", func(into *int64, with int64) { *into = max(*into, with) })
	mean    = weir.AggregatingOf(shop, "mean", weir.Aggregate[int64, mean2, float64]{
		Add:    func(a *mean2, n int64) { a.Count++; a.Sum += n },
		Result: func(a *mean2) float64 { return float64(a.Sum) / float64(a.Count) },
	})
	recent  = weir.ListOf[int64](shop, "recent", weir.TTL(time.Hour))
	history = weir.ListOf[summary](shop, "history", weir.Hosted())
	byN     = weir.MapOf[int64, string](shop, "by_n")
	alarm   = weir.ProcessingTimer(shop, "alarm")
	served  = weir.NewCounter("served")
)

type mean2 struct{ Count, Sum int64 }

func init() {
	clicks.On(func(ctx *weir.Context, c *click) error {
		served.Add(1)
		p := prof.Edit(ctx)
		p.Total += c.N
		if c.Note != nil {
			p.Notes = append(p.Notes, *c.Note)
		}
		largest.Add(ctx, c.N)
		mean.Add(ctx, c.N)
		recent.Append(ctx, c.N)
		recent.Retain(ctx, func(n *int64) bool { return *n != 3 })
		history.Append(ctx, summary{c.User, c.N, "click"})
		byN.Put(ctx, c.N, fmt.Sprint("n", c.N))
		byN.Delete(ctx, 2)
		sums.Emit(ctx, summary{c.User, p.Total, strings.Join(p.Notes, "+")})
		if c.N%2 == 1 {
			odd.EmitAt(ctx, time.UnixMicro(c.N), summary{User: c.User, Count: c.N})
		}
		alarm.Set(ctx, ctx.Now().Add(time.Minute))
		switch c.N {
		case 13:
			return errors.New("thirteen")
		case 99:
			var none *profile
			none.Total++
		case 77:
			done := make(chan struct{})
			go func() { <-done }()
		}
		return nil
	})
	orders.On(func(ctx *weir.Context, o *order) error {
		sums.Emit(ctx, summary{o.User, int64(o.Day), o.Price.String() + "/" + string(o.Blob)})
		return nil
	})
	alarm.On(func(ctx *weir.Context, at time.Time) error {
		var entries []string
		for n, text := range byN.All(ctx) {
			entries = append(entries, fmt.Sprint(n, "=", text))
		}
		average, _ := mean.Get(ctx)
		top, _ := largest.Get(ctx)
		sums.Emit(ctx, summary{weir.Key[string](ctx), top, fmt.Sprint(average, recent.Slice(ctx), history.Len(ctx), strings.Join(entries, ","))})
		ctx.Infof("alarm of %s", weir.Key[string](ctx))
		return nil
	})
}

func texts(h *weirtest.Harness) []string {
	var all []string
	for _, s := range weirtest.Rows[summary](h, "out") {
		all = append(all, fmt.Sprint(s.User, " ", s.Count, " ", s.Text))
	}
	return all
}

func expect(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func ptr[T any](v T) *T { return &v }

func TestAllKindsOfStateFollowTheRows(t *testing.T) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for range 20 {
		h := weirtest.New(t, "shop", weirtest.At(start))
		h.Send("clicks", click{"ann", 1, ptr("a")}, click{"bob", 2, nil}, click{"ann", 3, ptr("b")}, click{"ann", 4, nil})
		h.AdvanceClock(start.Add(time.Minute))
		got := texts(h)
		slices.Sort(got[4:]) // the order of firings of different keys is not fixed
		expect(t, got, []string{"ann 1 a", "bob 2 ", "ann 4 a+b", "ann 8 a+b", "ann 4 2.6666666666666665 [1 4] 31=n1,3=n3,4=n4", "bob 2 2 [2] 1"})
		if v, ok := weirtest.State[int64](h, "largest", "ann"); !ok || v != 4 {
			t.Errorf("largest is %d, %v", v, ok)
		}
		if l, _ := weirtest.State[[]int64](h, "recent", "ann"); !slices.Equal(l, []int64{1, 4}) {
			t.Errorf("recent is %v", l)
		}
		if e := weirtest.Entries[summary](h, "history", "ann"); len(e) != 3 || e[2].Count != 4 {
			t.Errorf("history is %v", e)
		}
		if n := h.Metric("served"); n != 4 {
			t.Errorf("served is %v", n)
		}
		if logs := h.Logs(); len(logs) != 2 || !strings.HasPrefix(logs[0], "info: alarm of ") {
			t.Errorf("logs are %v", logs)
		}
		side := h.Output("odd")
		if len(side) != 2 || !side[0].Time.Equal(time.UnixMicro(1)) {
			t.Errorf("odd is %v", side)
		}
		h.AdvanceClock(start.Add(2 * time.Hour))
		if _, ok := weirtest.State[[]int64](h, "recent", "ann"); ok {
			t.Error("recent has outlived its TTL")
		}
	}
}

func TestAFailedRowLeavesNothingBehind(t *testing.T) {
	for range 20 {
		h := weirtest.New(t, "shop")
		h.Send("clicks", click{"ann", 1, ptr("a")}, click{"ann", 13, ptr("x")}, click{"ann", 2, ptr("b")})
		expect(t, texts(h), []string{"ann 1 a", "ann 3 a+b"})
		if f := h.Failures(); len(f) != 1 || f[0].Text != "thirteen" || f[0].Trap {
			t.Fatalf("failures: %v", f)
		}
		if p, _ := weirtest.State[profile](h, "profile", "ann"); p.Total != 3 || !slices.Equal(p.Notes, []string{"a", "b"}) {
			t.Errorf("profile is %v", p)
		}
		if v, _ := weirtest.State[int64](h, "largest", "ann"); v != 2 {
			t.Errorf("largest is %d", v)
		}
		if l, _ := weirtest.State[[]int64](h, "recent", "ann"); !slices.Equal(l, []int64{1, 2}) {
			t.Errorf("recent is %v", l)
		}
		if e := weirtest.Entries[summary](h, "history", "ann"); len(e) != 2 {
			t.Errorf("history is %v", e)
		}
	}
}

func TestAPanicCostsItsRowAlone(t *testing.T) {
	h := weirtest.New(t, "shop")
	h.Send("clicks", click{"ann", 1, nil}, click{"ann", 99, nil}, click{"ann", 2, nil})
	expect(t, texts(h), []string{"ann 1 ", "ann 3 "})
	if f := h.Failures(); len(f) != 1 || !f[0].Trap || !strings.Contains(f[0].Text, "nil pointer") || !strings.Contains(f[0].Text, "weir_test.go") {
		t.Errorf("failures: %v", f)
	}
}

func TestAGoroutineAtWorkAfterTheCallIsNamed(t *testing.T) {
	h := weirtest.New(t, "shop", weirtest.Settled())
	h.Send("clicks", click{"ann", 77, nil})
	if f := h.Failures(); len(f) != 1 || !strings.Contains(f[0].Text, "a goroutine that a handler started is still at work") {
		t.Errorf("failures: %v", f)
	}
}

func TestAValueOverItsLimitFailsAndNamesHosted(t *testing.T) {
	h := weirtest.New(t, "shop")
	long := strings.Repeat("x", 150)
	h.Send("clicks", click{"ann", 1, &long}, click{"ann", 2, &long}, click{"ann", 4, nil})
	expect(t, texts(h), []string{"ann 1 " + long, "ann 5 " + long})
	if f := h.Failures(); len(f) != 1 || !strings.Contains(f[0].Text, "the limit is 200") || !strings.Contains(f[0].Text, "hosted") {
		t.Errorf("failures: %v", f)
	}
}

func TestDecimalsDatesAndBytesArrive(t *testing.T) {
	h := weirtest.New(t, "shop")
	day := weir.DateOf(time.Date(2026, 2, 3, 23, 0, 0, 0, time.UTC))
	h.Send("orders", order{"ann", weir.NewDecimal(-1250, 2), day, []byte("blob")})
	expect(t, texts(h), []string{fmt.Sprint("ann ", int(day), " -12.50/blob")})
}

type big struct{ Text string }

var _ = weir.FlatMap("grow", func(b *big, emit func(big)) error {
	for range 4 {
		emit(big{strings.Repeat(b.Text, 1<<20)})
	}
	return nil
})

func TestACallReturnsEarlyBeforeItsOutputIsFull(t *testing.T) {
	h := weirtest.New(t, "grow", weirtest.Settled())
	h.Send("in", big{"a"}, big{"b"}, big{"c"}, big{"dd"}, big{"ee"}, big{"fff"})
	if n := len(h.Output("out")); n != 12 {
		t.Errorf("%d rows came, want 12: 4 for each of the first three", n)
	}
	if f := h.Failures(); len(f) != 3 || !strings.Contains(f[0].Text, "the limit of a call is 8388608") {
		t.Errorf("failures: %d", len(f))
	}
}

type raw = weir.Raw

var _ = weir.Filter("with_key", func(r *raw) (bool, error) { return r.Key != nil, nil })

func TestRawRecordsKeepTheirHeaders(t *testing.T) {
	h := weirtest.New(t, "with_key")
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	h.Send("in", raw{Value: []byte("dropped"), Time: at}, raw{Key: []byte("k"), Value: []byte("v"), Time: at, Headers: weir.Headers{"b": []byte("2"), "a": []byte("1")}})
	got := weirtest.Rows[raw](h, "out")
	if len(got) != 1 || string(got[0].Key) != "k" || !got[0].Time.Equal(at) || string(got[0].Headers["b"]) != "2" || len(got[0].Headers) != 2 {
		t.Errorf("got %v", got)
	}
}

type settings struct{ Limit int }

func (s settings) Validate() error {
	if s.Limit < 0 {
		return errors.New("limit is negative")
	}
	return nil
}

type number struct{ N int64 }

var (
	limited  = weir.Process("limited")
	numbers  = weir.In[number](limited, "in")
	passed   = weir.Out[number](limited)
	limitCfg = weir.ConfigOf(limited, settings{Limit: 10})

	cached     = weir.Process("cached")
	cachedIn   = weir.In[number](cached, "in")
	cachedOut  = weir.Out[number](cached)
	cachedRows int64

	keeper    = weir.Process("keeper")
	keeperIn  = weir.In[big](keeper, "in")
	keeperOut = weir.Out[big](keeper)
	kept      string
)

func init() {
	numbers.On(func(ctx *weir.Context, n *number) error {
		if n.N < int64(limitCfg.Get(ctx).Limit) {
			passed.Emit(ctx, *n)
		}
		return nil
	})
	cachedIn.On(func(ctx *weir.Context, n *number) error {
		cachedRows++
		cachedOut.Emit(ctx, number{cachedRows})
		return nil
	})
	keeperIn.On(func(ctx *weir.Context, b *big) error {
		keeperOut.Emit(ctx, big{kept})
		kept = b.Text
		return nil
	})
}

func TestConfigurationHasDefaultsAndIsChecked(t *testing.T) {
	h := weirtest.New(t, "limited", weirtest.Config(`{"Limit":3}`))
	h.Send("in", number{1}, number{5})
	if got := weirtest.Rows[number](h, "out"); len(got) != 1 {
		t.Errorf("got %v, want 1 alone", got)
	}
	h = weirtest.New(t, "limited")
	h.Send("in", number{1}, number{5})
	if got := weirtest.Rows[number](h, "out"); len(got) != 2 {
		t.Errorf("got %v, want both", got)
	}
}

// recorder is a test that another harness fails; it is stopped where that would stop.
type recorder struct {
	testing.TB
	fatal string
}

type stopped struct{}

func (r *recorder) Helper()                      {}
func (r *recorder) Cleanup(func())               {}
func (r *recorder) Fatalf(f string, args ...any) { r.fatal = fmt.Sprintf(f, args...); panic(stopped{}) }
func (r *recorder) Fatal(args ...any)            { r.fatal = fmt.Sprint(args...); panic(stopped{}) }
func (r *recorder) run(f func(t testing.TB))     { defer func() { recover() }(); f(r) }
func failure(t *testing.T, f func(testing.TB)) string {
	r := &recorder{TB: t}
	r.run(f)
	return r.fatal
}

func TestAFunctionThatCountsInAGlobalIsFound(t *testing.T) {
	text := failure(t, func(t testing.TB) {
		h := weirtest.New(t, "cached")
		for i := range 200 {
			h.Send("in", number{int64(i)})
		}
		h.Output("out")
	})
	if !strings.Contains(text, "keeps something outside of its state") {
		t.Errorf("the harness said %q", text)
	}
}

func TestAFunctionThatKeepsARowsStringIsFound(t *testing.T) {
	text := failure(t, func(t testing.TB) {
		h := weirtest.New(t, "keeper")
		for i := range 200 {
			h.Send("in", big{fmt.Sprint("row ", i)})
		}
		h.Output("out")
	})
	if text == "" {
		t.Error("the harness said nothing")
	}
}

func TestABadConfigurationIsRefusedAtOpen(t *testing.T) {
	for config, want := range map[string]string{`{"Limit":-1}`: "limit is negative", `{"Limt":1}`: "Limt", `{"Limit":"x"}`: "Limit"} {
		if text := failure(t, func(t testing.TB) { weirtest.New(t, "limited", weirtest.Config(config)) }); !strings.Contains(text, want) {
			t.Errorf("config %s: %q, want %q in it", config, text, want)
		}
	}
}

// declared runs declarations in a module of their own and returns what describe says.
func declared(t *testing.T, declare func()) string {
	t.Helper()
	outside := guest.Default
	guest.Default = guest.Module{}
	defer func() { guest.Default = outside }()
	declare()
	return string(guest.Default.Describe([]byte("WRC1\x10\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00")))
}

func TestWrongDeclarationsAreNamedWithTheWayOut(t *testing.T) {
	handle := func(*weir.Context, *number) error { return nil }
	for want, declare := range map[string]func(){
		"declares no function":                func() {},
		"has no handler: give it one with On": func() { weir.In[number](weir.Process("f"), "in") },
		"only keyed functions have state":     func() { f := weir.Process("f"); weir.In[number](f, "in").On(handle); weir.ValueOf[int64](f, "s") },
		`key column \"x\" is not among`:       func() { weir.In[number](weir.Keyed("f", "x"), "in").On(handle) },
		"two functions are named": func() {
			weir.In[number](weir.Process("f"), "in").On(handle)
			weir.In[number](weir.Process("f"), "in").On(handle)
		},
		"a map by bool is no column": func() { weir.In[struct{ M map[bool]int }](weir.Process("f"), "in") },
		"for a map use weir.MapOf":   func() { weir.ValueOf[map[string]int](weir.Keyed("f", "n"), "s") },
		"want 1 to 63 letters":       func() { weir.Process("no blanks") },
		"want 1 to 1048576":          func() { weir.ValueOf[int64](weir.Keyed("f", "n"), "s", weir.MaxBytes(2<<20)) },
		"all inputs have the same key types": func() {
			f := weir.Keyed("f", "n")
			weir.In[number](f, "a").On(handle)
			weir.In[big](f, "b", weir.By("text"))
		},
		"the same id 1": func() {
			weir.ValueOf[struct {
				A int64 `weir:"a,1"`
				B int64 `weir:"b,1"`
			}](weir.Keyed("f", "n"), "s")
		},
		"two fields are column": func() {
			weir.In[struct {
				A int64
				B int64 `weir:"a"`
			}](weir.Process("f"), "in")
		},
	} {
		if got := declared(t, declare); !strings.HasPrefix(got, `{"error":"`) || !strings.Contains(got, want) {
			t.Errorf("want %q in %s", want, got)
		}
	}
}

func TestAModuleDeclaresItsGraph(t *testing.T) {
	got := declared(t, func() {
		double := weir.Map("double", func(n *number) (number, error) { return number{2 * n.N}, nil })
		g := weir.Pipeline("numbers").Parallelism(4)
		src := weir.SourceOf[number](g, "numbers", weir.Source{Topic: "numbers"})
		once := g.Apply(double, src)
		twice := g.ApplyAs("again", double, map[string]int{"x": 1}, once)
		g.Sink("out", twice, weir.Sink{Topic: "doubled", Key: "n"})
	})
	want := `"graph":{"pipeline":"numbers","parallelism":4,"sources":{"numbers":{"topic":"numbers","format":"json","columns":"n:int64"}},` +
		`"operators":{"double":{"function":"double","input":"numbers"},"again":{"function":"double","input":"double","config":{"x":1}}},` +
		`"sinks":{"out":{"topic":"doubled","input":"again","format":"json","key":"n","guarantee":"exactly_once"}}}}`
	if !strings.HasSuffix(got, want) {
		t.Errorf("the manifest is\n%s\nwant at its end\n%s", got, want)
	}
}

func TestTheManifestSaysWhatWasDeclared(t *testing.T) {
	got := string(guest.Default.Describe([]byte("WRC1\x10\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00")))
	for _, want := range []string{
		`"columns":"user:utf8,n:int64,note:utf8?","key":["user"]`,
		`"columns":"user:utf8,price:decimal(10,2),day:date32,blob:binary","key":["user"]`,
		`{"name":"profile","kind":"value","form":"framed","codec":"row","value":"1:notes:list<utf8>,2:total:int64","version":1,"ttl_ms":0,"ttl_on":"write","max_bytes":200}`,
		`{"name":"largest","kind":"reducing","form":"framed","codec":"row","value":"1:value:int64"`,
		`{"name":"recent","kind":"list","form":"framed","codec":"row","value":"1:value:list<int64>","version":1,"ttl_ms":3600000`,
		`{"name":"history","kind":"list","form":"hosted","codec":"row","value":"1:user:utf8,2:count:int64,3:text:utf8"`,
		`{"name":"by_n","kind":"map","form":"hosted","codec":"row","value":"1:value:utf8","key":"int64"`,
		`"timers":[{"name":"alarm","kind":"processing"}],"requires":["hosted_state","positions"]`,
		`"columns":"key:binary?,value:binary?,ts:timestamp,headers:map<utf8,binary>?"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("want %s in\n%s", want, got)
		}
	}
}

func TestTheBenchGuestBuildsAsAModule(t *testing.T) {
	out := filepath.Join(t.TempDir(), "bench.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, "./internal/benchguest")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	data, err := os.ReadFile(out)
	if err != nil || string(data[:4]) != "\x00asm" {
		t.Fatalf("%q, %v", data[:4], err)
	}
	for _, export := range []string{"weir_abi_v1", "weir_alloc", "weir_describe", "weir_open", "weir_call", "_initialize"} {
		if !strings.Contains(string(data), export) {
			t.Errorf("it does not export %s", export)
		}
	}
}
