package depot

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
)

const maxDirName = 255 // bytes

// DirName is the directory of a package's id or version: the name itself where
// that is a safe one, else one that is made of it and of its hash.
func DirName(s string) string {
	if plain(s) {
		return s
	}
	low := strings.ToLower(s)
	sum := sha256.Sum256([]byte(low))
	suffix := fmt.Sprintf("_%X_%s", len(low), base32.StdEncoding.EncodeToString(sum[:]))
	var middle strings.Builder
	for _, c := range []byte(low) {
		switch {
		case c == '.':
			c = '-'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-':
		default:
			continue
		}
		middle.WriteByte(c)
	}
	name := "_" + middle.String()
	return name[:min(len(name), maxDirName-len(suffix))] + suffix
}

// plain says that a name is safe as it is, on every system.
func plain(s string) bool {
	if s == "" || len(s) > maxDirName || !alphanumeric(s[0]) || s[len(s)-1] == ' ' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case alphanumeric(c), strings.IndexByte(" _+=()[]{}-", c) >= 0:
		case c == '.' && i+1 < len(s) && s[i+1] != '.':
		default:
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
