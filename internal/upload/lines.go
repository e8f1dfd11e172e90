package upload

import "bytes"

// Lines takes whole lines of at most limit bytes from b and says how many bytes
// that are. A line that is longer is cut. end: what follows the last line's end
// counts as a line.
func Lines(b []byte, limit int, end bool) (taken []byte, n int) {
	if len(b) > limit {
		b, end = b[:limit], false
		if bytes.IndexByte(b, '\n') < 0 {
			return b, len(b)
		}
	}
	if end {
		return b, len(b)
	}
	n = bytes.LastIndexByte(b, '\n') + 1
	return b[:n], n
}
