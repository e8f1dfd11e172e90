package fingerprint

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// structure is one entry of a firmware's SMBIOS table (DMTF DSP0134).
type structure struct {
	kind    byte
	data    []byte // formatted area, with its header of 4 bytes
	strings []string
}

// parseSMBIOS reads a table until its end or the first entry that makes no
// sense: firmware is often careless there.
func parseSMBIOS(table []byte) []structure {
	const endOfTable = 127
	var out []structure
	for len(table) >= 4 && table[0] != endOfTable {
		size := int(table[1])
		if size < 4 || size > len(table) {
			break
		}
		s := structure{kind: table[0], data: table[:size]}
		rest := table[size:]
		for len(rest) > 0 && rest[0] != 0 {
			end := slices.Index(rest, 0)
			if end < 0 {
				return out
			}
			s.strings = append(s.strings, text(rest[:end]))
			rest = rest[end+1:]
		}
		if len(s.strings) == 0 && len(rest) > 0 { // no strings: two NULs all the same
			rest = rest[1:]
		}
		if len(rest) > 0 {
			rest = rest[1:]
		}
		out = append(out, s)
		table = rest
	}
	return out
}

// text is the string whose number stands at offset.
func (s structure) text(offset int) string {
	if offset >= len(s.data) {
		return ""
	}
	n := int(s.data[offset])
	if n == 0 || n > len(s.strings) {
		return ""
	}
	return s.strings[n-1]
}

// raw is a hex dump of the bytes from offset on.
func (s structure) raw(offset, n int) string {
	if offset+n > len(s.data) {
		return ""
	}
	return fmt.Sprintf("%x", s.data[offset:offset+n])
}

// uuid is that of a type 1 structure, as the system shows it: its first three
// fields are stored with the low byte first.
func (s structure) uuid() string {
	if len(s.data) < 24 {
		return ""
	}
	b := s.data[8:24]
	return strings.ToUpper(fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]),
		binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16]))
}

// smbiosFacts fills our own properties from a table, and returns the UUID.
func smbiosFacts(table []byte, facts map[string]string) (uuid string) {
	var bios, system, processor, memory []string
	for _, s := range parseSMBIOS(table) {
		switch s.kind {
		case 0: // vendor, version, date
			bios = append(bios, s.text(4), s.text(5), s.text(8))
		case 1: // manufacturer, product, version, serial number
			uuid = s.uuid()
			system = append(system, s.text(4), s.text(5), s.text(6), s.text(7), uuid)
		case 4: // socket, manufacturer, id, version, core count
			processor = append(processor, s.text(4), s.text(7), s.raw(8, 8), s.text(16), s.raw(0x23, 1))
		case 17: // size, locator, manufacturer, serial number, part number
			memory = append(memory, s.raw(0x0c, 2), s.raw(0x1c, 4), s.text(0x10), s.text(0x17), s.text(0x18), s.text(0x1a))
		}
	}
	facts[BIOS], facts[System] = digestFacts(bios), digestFacts(system)
	facts[Processor], facts[Memory] = digestFacts(processor), digestFacts(memory)
	return uuid
}

// firmwareTable cuts the header off what GetSystemFirmwareTable('RSMB') gives:
// four bytes of versions and the length of the table.
func firmwareTable(raw []byte) []byte {
	if len(raw) < 8 {
		return nil
	}
	n := binary.LittleEndian.Uint32(raw[4:])
	return raw[8:min(8+uint64(n), uint64(len(raw)))]
}

// storageFacts reads a STORAGE_DEVICE_DESCRIPTOR: whether the medium is
// removable at byte 10, then offsets of vendor, product and (after that of the
// revision) serial number.
func storageFacts(b []byte) string {
	if len(b) < 28 || b[10] != 0 {
		return ""
	}
	var words []string
	for _, at := range []int{12, 16, 24} {
		offset := binary.LittleEndian.Uint32(b[at:])
		word := ""
		if offset != 0 && uint64(offset) < uint64(len(b)) {
			word = text(b[offset:])
		}
		words = append(words, word)
	}
	return strings.Join(words, "|")
}
