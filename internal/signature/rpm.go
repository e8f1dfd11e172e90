package signature

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// The parts of an rpm, and its signatures over header and content.
const (
	rpmLead     = 96
	rpmIntro    = 16 // of a header: magic, how many entries, how many bytes
	rpmEntry    = 16
	rpmBinary   = 7 // type of an entry
	rpmTagPGP   = 1002
	rpmTagGPG   = 1005
	rpmMaxIndex = 1 << 16
)

// rpm takes an rpm apart into what was signed and the signature: the header
// with all that follows it.
func rpm(b []byte) (signed, signature []byte, err error) {
	if len(b) < rpmLead+rpmIntro || !bytes.HasPrefix(b, []byte{0xed, 0xab, 0xee, 0xdb}) {
		return nil, nil, fmt.Errorf("%w: it does not begin as an rpm", ErrFormat)
	}
	b = b[rpmLead:]
	if !bytes.HasPrefix(b, []byte{0x8e, 0xad, 0xe8, 1}) {
		return nil, nil, fmt.Errorf("%w: it has no header of signatures", ErrFormat)
	}
	entries, size := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
	store := rpmIntro + uint64(entries)*rpmEntry
	end := store + uint64(size)
	padded := (end + 7) / 8 * 8
	if entries > rpmMaxIndex || padded > uint64(len(b)) {
		return nil, nil, fmt.Errorf("%w: it is cut off", ErrFormat)
	}
	for i := range uint64(entries) {
		e := b[rpmIntro+i*rpmEntry:]
		tag, kind := binary.BigEndian.Uint32(e), binary.BigEndian.Uint32(e[4:])
		from, n := uint64(binary.BigEndian.Uint32(e[8:])), uint64(binary.BigEndian.Uint32(e[12:]))
		if (tag != rpmTagPGP && tag != rpmTagGPG) || kind != rpmBinary {
			continue
		}
		if from+n > uint64(size) {
			return nil, nil, fmt.Errorf("%w: its signature is cut off", ErrFormat)
		}
		signature = b[store+from : store+from+n]
	}
	if signature == nil {
		return nil, nil, fmt.Errorf("%w over header and content (rpmsign --rpmv3 makes such a signature)", ErrUnsigned)
	}
	return b[padded:], signature, nil
}
