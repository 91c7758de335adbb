package jetstream

import "github.com/weirstream/weir/abi/frame"

// Compression says whether a publisher compresses its frames. The log copies and
// writes a frame several times, so that what s2 takes away is mostly worth more
// than s2.
type Compression uint8

// WherePaying tries now and then and compresses as long as it helps.
const (
	WherePaying Compression = iota
	Uncompressed
)

// Where compression pays.
const (
	payingNumerator, payingDenominator = 3, 4 // of its size is what a frame may keep
	plainFrames                        = 31   // that follow one which kept more
)

// compressor chooses the codec of each frame of a publisher.
type compressor struct {
	how   Compression
	plain int // frames to come that are not tried
	enc   frame.StoredEncoder
}

func (c *compressor) append(dst []byte, f *frame.Stored, raw int) ([]byte, error) {
	if c.how == Uncompressed || c.plain > 0 {
		c.plain = max(c.plain-1, 0)
		return c.enc.Append(dst, f, frame.CodecNone)
	}
	out, err := c.enc.Append(dst, f, frame.CodecS2)
	if err != nil || (len(out)-len(dst))*payingDenominator <= raw*payingNumerator {
		return out, err
	}
	// A plain frame is read where it stands, which is worth more than the rest.
	c.plain = plainFrames
	return c.enc.Append(dst, f, frame.CodecNone)
}
