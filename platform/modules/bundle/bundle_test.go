package bundle

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/abi/frame"
)

// The bytes of a small bundle, written down by hand after the package's diagram.
var small = "WEIRBND1" + "\x02\x00\x00\x00" + "\x04\x00\x00\x00" +
	"\x01\x00\x00\x00" + "\x02\x00\x00\x00" + "\x04\x00\x00\x00" + "\x00\x00\x00\x00" +
	"wasm" + "a" + "hi" + "b/c.x"[:4] // the second name has four bytes and no data

func TestABundleHasTheBytesOfItsDiagramInWhateverOrderAssetsCome(t *testing.T) {
	a, b := frame.Asset{Name: "a", Data: []byte("hi")}, frame.Asset{Name: "b/c."}
	for _, assets := range [][]frame.Asset{{a, b}, {b, a}} {
		got, err := Encode([]byte("wasm"), assets)
		if err != nil || string(got) != small {
			t.Errorf("%q, %v, want %q", got, err, small)
		}
	}
	wasm, assets, err := Decode([]byte(small))
	if err != nil || string(wasm) != "wasm" || len(assets) != 2 || assets[0].Name != "a" || string(assets[0].Data) != "hi" || assets[1].Name != "b/c." || len(assets[1].Data) != 0 {
		t.Errorf("%q, %v, %v", wasm, assets, err)
	}
}

func TestAModuleWithoutAssetsIsItsOwnBundle(t *testing.T) {
	wasm := []byte("\x00asm\x01\x00\x00\x00")
	b, err := Encode(wasm, nil)
	if err != nil || !bytes.Equal(b, wasm) {
		t.Errorf("%q, %v", b, err)
	}
	got, assets, err := Decode(wasm)
	if err != nil || !bytes.Equal(got, wasm) || assets != nil {
		t.Errorf("%q, %v, %v", got, assets, err)
	}
}

func TestWhatIsAboveALimitIsRefusedByItsName(t *testing.T) {
	many := make([]frame.Asset, MaxAssets+1)
	for i := range many {
		many[i].Name = strings.Repeat("x", i+1)
	}
	for want, assets := range map[string][]frame.Asset{
		"the limit is 64":           many,
		"two assets are named a":    {{Name: "a"}, {Name: "a"}},
		"more than 32 MiB":          {{Name: "a", Data: make([]byte, MaxAssetsBytes)}, {Name: "b", Data: []byte{1}}},
		`asset name "../passwd"`:    {{Name: "../passwd"}},
		`asset name "a//b"`:         {{Name: "a//b"}},
		`asset name "with a space"`: {{Name: "with a space"}},
		"has 0 bytes":               {{Name: ""}},
		"has 129 bytes":             {{Name: strings.Repeat("n", MaxNameBytes+1)}},
	} {
		if _, err := Encode([]byte("wasm"), assets); !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
}

func TestADamagedBundleIsRefused(t *testing.T) {
	for cut := len(magic); cut < len(small); cut++ {
		if _, _, err := Decode([]byte(small[:cut])); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
	for _, b := range []string{small + "x", strings.Replace(small, "wasma", "wasmz", 1)} {
		if _, _, err := Decode([]byte(b)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%q: %v", b, err)
		}
	}
}

func TestAFoldersFilesAreAssetsUnderTheirPaths(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"assets/main.js": "main", "assets/lib/x.js": "lib", "assets/.hidden": "no", "m.wasm": "module"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	assets, err := Beside(filepath.Join(dir, "m.wasm"))
	if err != nil || len(assets) != 2 || assets[0].Name != "lib/x.js" || string(assets[0].Data) != "lib" || assets[1].Name != "main.js" || string(assets[1].Data) != "main" {
		t.Errorf("%v, %v", assets, err)
	}
	if assets, err := Beside(filepath.Join(t.TempDir(), "m.wasm")); err != nil || assets != nil {
		t.Errorf("without a folder: %v, %v", assets, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte("\x00asm\x01\x00\x00\x00"))
	f.Add([]byte(small[:20]))
	f.Add([]byte(magic + "\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		wasm, assets, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		again, err := Encode(wasm, assets)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("decoded and encoded again it is %q, %v", again, err)
		}
	})
}
