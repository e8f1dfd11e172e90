package doc

import "unicode/utf8"

// Limits of the texts in a result, in bytes.
const (
	MaxStream = 24000 // StandardOutput and StandardError, marker included
	MaxOutput = 2500  // Output, title and markers included
)

const (
	streamMarker = "--output truncated--"
	errorTitle   = "\n----------ERROR-------\n"
	outputMarker = "\n---Output truncated---"
	errorMarker  = "\n---Error truncated----"
)

// TruncateStream limits one stream to MaxStream bytes.
func TruncateStream(s string) string {
	if len(s) < MaxStream {
		return s
	}
	return cut(s, MaxStream-len(streamMarker)) + streamMarker
}

// TruncateOutput is the combined text of a step, limited to MaxOutput bytes.
func TruncateOutput(stdout, stderr string) string {
	title, room := "", MaxOutput
	if stderr != "" {
		title, room = errorTitle, MaxOutput-len(errorTitle)
	}
	o, e := len(stdout), len(stderr)
	switch {
	case o+e < room:
		return stdout + title + stderr
	case o <= room/2:
		return stdout + title + cut(stderr, room-o-len(errorMarker)) + errorMarker
	case e <= room/2:
		return cut(stdout, room-e-len(outputMarker)) + outputMarker + title + stderr
	}
	each := (room - len(outputMarker) - len(errorMarker)) / 2
	return cut(stdout, each) + outputMarker + title + cut(stderr, each) + errorMarker
}

// cut shortens s to at most n bytes without leaving half a character, which
// JSON would turn into a replacement character longer than what it replaces.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := n; i > n-utf8.UTFMax && i > 0; i-- {
		if utf8.RuneStart(s[i]) {
			if r, size := utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError && i+size > n {
				return s[:i]
			}
			break
		}
	}
	return s[:n]
}
