package frame

import "encoding/binary"

// Asset is a named file of a module's bundle, which the guest is given at open.
type Asset struct {
	Name string
	Data []byte
}

// Size is how many bytes the asset's section takes: name length, name, padding to 8, data.
func (a Asset) Size() int { return assetDataAt(len(a.Name)) + len(a.Data) }

// Put writes the section's body into dst, which has that size.
func (a Asset) Put(dst []byte) {
	binary.LittleEndian.PutUint32(dst, uint32(len(a.Name)))
	copy(dst[4:], a.Name)
	copy(dst[assetDataAt(len(a.Name)):], a.Data)
}

func assetDataAt(nameBytes int) int { return (4 + nameBytes + 7) &^ 7 }
