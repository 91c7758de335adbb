// Package bundle puts a module and its named assets into one object, so that one
// digest names both: a script for an interpreter, or a model, is part of a module
// like its code. It must not know what a module does nor where bundles are kept.
//
// A module without assets is its own bundle. Otherwise, all integers
// little-endian and the assets in order of their names:
//
//	| "WEIRBND1" | u32 assets | u32 bytes of the module |
//	| for each asset: u32 bytes of its name, u32 bytes of its data |
//	| module | for each asset: name, data |
package bundle

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weirstream/weir/abi/frame"
)

// Limits of a bundle.
const (
	MaxAssets      = 64
	MaxNameBytes   = 128
	MaxAssetsBytes = 32 << 20 // of all assets together: they go into the instance's memory at open
	MaxModuleBytes = 64 << 20

	magic      = "WEIRBND1"
	headBytes  = len(magic) + 8
	entryBytes = 8
	// MaxIndexBytes is how long the part before the module can be.
	MaxIndexBytes = headBytes + MaxAssets*entryBytes
)

var (
	// ErrLimit refuses a bundle that is too large, or an asset whose name cannot be.
	ErrLimit = errors.New("bundle refused")
	// ErrDamaged says that bytes which begin as a bundle are none.
	ErrDamaged = errors.New("damaged bundle")
)

// Encode gives the bundle's bytes: equal modules with equal assets give equal
// bytes, in whatever order they come.
func Encode(wasm []byte, assets []frame.Asset) ([]byte, error) {
	if len(assets) == 0 {
		return wasm, nil
	}
	assets = slices.Clone(assets)
	slices.SortFunc(assets, func(a, b frame.Asset) int { return cmp.Compare(a.Name, b.Name) })
	if err := check(wasm, assets); err != nil {
		return nil, err
	}
	b := append([]byte(nil), magic...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(assets)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(wasm)))
	for _, a := range assets {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(a.Name)))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(a.Data)))
	}
	b = append(b, wasm...)
	for _, a := range assets {
		b = append(append(b, a.Name...), a.Data...)
	}
	return b, nil
}

func check(wasm []byte, assets []frame.Asset) error {
	if len(assets) > MaxAssets {
		return fmt.Errorf("%w: %d assets, the limit is %d; put several into one file", ErrLimit, len(assets), MaxAssets)
	}
	if len(wasm) > MaxModuleBytes {
		return fmt.Errorf("%w: a module of %d bytes, the limit is %d; strip debug information", ErrLimit, len(wasm), MaxModuleBytes)
	}
	total := 0
	for i, a := range assets {
		if err := CheckName(a.Name); err != nil {
			return err
		}
		if i > 0 && a.Name == assets[i-1].Name {
			return fmt.Errorf("%w: two assets are named %s; give one of them another name: NAME=FILE", ErrLimit, a.Name)
		}
		if total += len(a.Data); total > MaxAssetsBytes {
			return fmt.Errorf("%w: its assets have more than %d MiB, the limit; a function reads what is larger from a topic", ErrLimit, MaxAssetsBytes>>20)
		}
	}
	return nil
}

// CheckName accepts parts between slashes, each of [A-Za-z0-9._-] and neither . nor ..
func CheckName(name string) error {
	if len(name) == 0 || len(name) > MaxNameBytes {
		return fmt.Errorf("%w: an asset's name has %d bytes, 1 to %d are allowed", ErrLimit, len(name), MaxNameBytes)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsFunc(part, func(r rune) bool { return !nameRune(r) }) {
			return fmt.Errorf("%w: asset name %q: use A-Z a-z 0-9 . _ - and slashes between parts", ErrLimit, name)
		}
	}
	return nil
}

func nameRune(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
}

// Is tells whether bytes begin as a bundle with assets does.
func Is(b []byte) bool { return len(b) >= len(magic) && string(b[:len(magic)]) == magic }

// Decode takes a bundle apart. Module and assets are views.
func Decode(b []byte) (wasm []byte, assets []frame.Asset, err error) {
	if !Is(b) {
		return b, nil, nil
	}
	module, sizes, err := index(b)
	if err != nil {
		return nil, nil, err
	}
	rest := b[headBytes+len(sizes)*entryBytes:]
	take := func(n int) (part []byte) {
		if err == nil && n > len(rest) {
			err = fmt.Errorf("%w: %d bytes are left of %d that it promises", ErrDamaged, len(rest), n)
		}
		if err != nil {
			return nil
		}
		part, rest = rest[:n:n], rest[n:]
		return part
	}
	wasm = take(module)
	for _, s := range sizes {
		assets = append(assets, frame.Asset{Name: string(take(s.name)), Data: take(s.data)})
	}
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%w: %d bytes behind its end", ErrDamaged, len(rest))
	}
	if err == nil && !slices.IsSortedFunc(assets, func(a, b frame.Asset) int { return cmp.Compare(a.Name, b.Name) }) {
		err = fmt.Errorf("%w: its assets are not in order", ErrDamaged)
	}
	if err == nil {
		if wrong := check(wasm, assets); wrong != nil {
			err = fmt.Errorf("%w: %w", ErrDamaged, wrong)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	return wasm, assets, nil
}

type entrySize struct{ name, data int }

// index reads the part before the module.
func index(b []byte) (module int, sizes []entrySize, err error) {
	if len(b) < headBytes {
		return 0, nil, fmt.Errorf("%w: it has %d bytes, its head %d", ErrDamaged, len(b), headBytes)
	}
	n, m := binary.LittleEndian.Uint32(b[len(magic):]), binary.LittleEndian.Uint32(b[len(magic)+4:])
	if n == 0 || n > MaxAssets || m > MaxModuleBytes {
		return 0, nil, fmt.Errorf("%w: %d assets and a module of %d bytes", ErrDamaged, n, m)
	}
	if len(b) < headBytes+int(n)*entryBytes {
		return 0, nil, fmt.Errorf("%w: its index is cut", ErrDamaged)
	}
	for i := range int(n) {
		at := b[headBytes+i*entryBytes:]
		s := entrySize{int(binary.LittleEndian.Uint32(at)), int(binary.LittleEndian.Uint32(at[4:]))}
		if s.name == 0 || s.name > MaxNameBytes || s.data > MaxAssetsBytes {
			return 0, nil, fmt.Errorf("%w: asset %d has a name of %d bytes and %d bytes of data", ErrDamaged, i, s.name, s.data)
		}
		sizes = append(sizes, s)
	}
	return int(m), sizes, nil
}
