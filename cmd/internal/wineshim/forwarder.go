package main

import (
	"bytes"
	"encoding/binary"
)

// The layout of the library: one page of headers, one section, mapped there.
const (
	sectionRVA = 0x1000
	alignment  = 0x200 // of the file
)

// forwarder is a PE32+ library without code that exports one function, which is
// another library's (target: "library.Function").
func forwarder(library, function, target string) []byte {
	section := exports(library, function, target)
	var b bytes.Buffer
	dos := make([]byte, 64)
	copy(dos, "MZ")
	binary.LittleEndian.PutUint32(dos[60:], uint32(len(dos))) // where the next header is
	b.Write(dos)
	b.WriteString("PE\x00\x00")
	put(&b, uint16(0x8664), uint16(1), uint32(0), uint32(0), uint32(0), // amd64, one section, no time and symbols
		uint16(240), uint16(0x2022)) // size of the optional header; executable, large addresses, a DLL
	optionalHeader(&b, uint32(len(section)))
	b.WriteString(".rdata\x00\x00")
	put(&b, uint32(len(section)), uint32(sectionRVA), uint32(alignment), uint32(alignment),
		uint32(0), uint32(0), uint16(0), uint16(0), uint32(0x40000040)) // initialised data, readable
	b.Write(make([]byte, alignment-b.Len()))
	b.Write(section)
	b.Write(make([]byte, 2*alignment-b.Len()))
	return b.Bytes()
}

func optionalHeader(b *bytes.Buffer, exportSize uint32) {
	put(b, uint16(0x20b), uint8(14), uint8(0), // PE32+, version of a linker
		uint32(0), uint32(alignment), uint32(0), uint32(0), uint32(0), // no code, some data, no entry point
		uint64(0x180000000), uint32(sectionRVA), uint32(alignment), // base, alignments
		uint16(6), uint16(0), uint16(0), uint16(0), uint16(6), uint16(0), uint32(0), // of Windows 6.0 on
		uint32(2*sectionRVA), uint32(alignment), uint32(0), uint16(3), uint16(0x140), // sizes; console; may move, no execution of data
		uint64(0x100000), uint64(0x1000), uint64(0x100000), uint64(0x1000), uint32(0), uint32(16)) // stack, heap, directories
	put(b, uint32(sectionRVA), exportSize)
	b.Write(make([]byte, 15*8)) // the other directories
}

// exports is a section that holds nothing but an export directory.
func exports(library, function, target string) []byte {
	const (
		addresses = sectionRVA + 40 // behind the directory
		names     = addresses + 4
		ordinals  = names + 4
		text      = ordinals + 4
	)
	libraryAt := uint32(text)
	functionAt := libraryAt + uint32(len(library)) + 1
	targetAt := functionAt + uint32(len(function)) + 1
	var b bytes.Buffer
	put(&b, uint32(0), uint32(0), uint32(0), libraryAt, uint32(1), uint32(1), uint32(1),
		uint32(addresses), uint32(names), uint32(ordinals))
	put(&b, targetAt) // an address within the directory is a forwarder
	put(&b, functionAt, uint16(0), uint16(0))
	for _, s := range []string{library, function, target} {
		b.WriteString(s + "\x00")
	}
	return b.Bytes()
}

func put(b *bytes.Buffer, values ...any) {
	for _, v := range values {
		_ = binary.Write(b, binary.LittleEndian, v) // a Buffer takes all
	}
}
