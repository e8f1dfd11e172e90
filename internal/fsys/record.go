package fsys

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"strconv"
)

// A line of a log is
//
//	CRC DURABLE RECORD LF
//
// CRC: eight hex digits, CRC-32C of what follows the blank after it up to the
// line feed. DURABLE: hex, how many bytes at the start of the file were known
// to be on disk when the line was written. By it a reader tells an end that
// the machine lost in a crash (cut it off) from damage to what had been safe
// (say so).
const crcDigits = 8

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) } // made once by the library

// appendRecord appends the line of record to b.
func appendRecord(b []byte, durable int64, record []byte) []byte {
	at := len(b)
	b = append(b, "00000000 "...)
	b = strconv.AppendInt(b, durable, 16)
	b = append(b, ' ')
	b = append(b, record...)
	sum := crc32.Checksum(b[at+crcDigits+1:], castagnoli())
	copy(b[at:], fmt.Sprintf("%08x", sum))
	return append(b, '\n')
}

// parseRecord undoes appendRecord, of a line without its line feed.
func parseRecord(line []byte, maxRecord int) (durable int64, record []byte, ok bool) {
	if len(line) <= crcDigits || line[crcDigits] != ' ' {
		return 0, nil, false
	}
	sum, err := strconv.ParseUint(string(line[:crcDigits]), 16, 32)
	body := line[crcDigits+1:]
	if err != nil || crc32.Checksum(body, castagnoli()) != uint32(sum) {
		return 0, nil, false
	}
	offset, record, ok := bytes.Cut(body, []byte(" "))
	if !ok || len(record) == 0 || len(record) > maxRecord {
		return 0, nil, false
	}
	durable, err = strconv.ParseInt(string(offset), 16, 64)
	return durable, record, err == nil && durable >= 0
}

// parseLog reads a log's content. good is the length of its undamaged start:
// all, or up to an end that was lost with the machine. If what is damaged had
// been durable, the error wraps ErrDamaged and records holds whatever is whole.
func parseLog(content []byte, maxRecord int) (records [][]byte, good int64, err error) {
	var durable int64
	firstBad := int64(-1)
	whole := 0 // records before firstBad
	for at := int64(0); at < int64(len(content)); {
		line, _, ended := bytes.Cut(content[at:], []byte("\n"))
		d, record, ok := parseRecord(line, maxRecord)
		ok = ok && ended && d <= at
		if ok {
			records = append(records, bytes.Clone(record))
			durable = max(durable, d)
		}
		if !ok && firstBad < 0 {
			firstBad, whole = at, len(records)
		}
		at += int64(len(line)) + 1
	}
	switch {
	case firstBad < 0:
		return records, int64(len(content)), nil
	case firstBad < durable:
		return records, 0, fmt.Errorf("the record at byte %d %w although it had been written safely; the disk may be failing", firstBad, ErrDamaged)
	}
	return records[:whole], firstBad, nil
}
