package modules

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/weirstream/weir/abi/manifest"
	"github.com/weirstream/weir/platform/modules/bundle"
)

// Raw gives a module's bytes with its assets, and its manifest's text, as they are kept.
func (s *Store) Raw(ctx context.Context, digest string) (whole, text []byte, err error) {
	if whole, err = s.get(ctx, name(digest)); err != nil {
		return nil, nil, fmt.Errorf("read module %.12s: %w", digest, err)
	}
	sealed, err := s.get(ctx, manifestName(digest))
	if err != nil {
		return nil, nil, fmt.Errorf("read manifest of module %.12s: %w", digest, err)
	}
	if text, err = unseal(sealed); err != nil {
		return nil, nil, fmt.Errorf("object %s is damaged: %w", manifestName(digest), err)
	}
	return whole, text, nil
}

// Keep takes what Raw gave elsewhere. The module is not run: what it says of itself
// was asked where it was pushed.
func (s *Store) Keep(ctx context.Context, whole, text []byte) (Digest, error) {
	digest := Digest(sha256.Sum256(whole))
	if _, _, err := bundle.Decode(whole); err != nil {
		return digest, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if _, err := manifest.Parse(text); err != nil {
		return digest, fmt.Errorf("%w: its manifest: %w", ErrRefused, err)
	}
	if err := s.put(ctx, name(digest.String()), whole); err != nil {
		return digest, fmt.Errorf("keep module: %w", err)
	}
	if err := s.put(ctx, manifestName(digest.String()), seal(text)); err != nil {
		return digest, fmt.Errorf("keep manifest: %w", err)
	}
	return digest, nil
}
