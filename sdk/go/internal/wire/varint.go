package wire

// AppendUvarint adds v in base 128, low groups first.
func AppendUvarint(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

// AppendZigzag adds a signed integer.
func AppendZigzag(b []byte, v int64) []byte { return AppendUvarint(b, Zigzag(v)) }

// Zigzag maps small magnitudes to small numbers.
func Zigzag(v int64) uint64 { return uint64(v)<<1 ^ uint64(v>>63) }

// Unzigzag undoes Zigzag.
func Unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// Uvarint reads a number and the bytes it took; 0 bytes for a damaged one.
func Uvarint(b []byte) (uint64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return uvarintLong(b)
}

func uvarintLong(b []byte) (uint64, int) {
	var v uint64
	for i := 0; i < len(b) && i < 10; i++ {
		if c := b[i]; c < 0x80 {
			if i == 9 && c > 1 {
				return 0, 0
			}
			return v | uint64(c)<<(7*i), i + 1
		}
		v |= uint64(b[i]&0x7f) << (7 * i)
	}
	return 0, 0
}
