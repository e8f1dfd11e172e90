package users

import (
	"crypto/rand"
	"strings"
)

// strength is what passwords are made of: this many characters, at least one of
// each class. All classes together have at most 256.
type strength struct {
	least, most int
	classes     []string
}

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits = "0123456789"
)

// strengths are tried one after the other, while the machine's policy refuses
// what was made: first what stock agents make, then what Windows still takes
// everywhere, for policies and filters that want more.
func strengths() []strength {
	return []strength{
		{least: 30, most: 62, classes: []string{lower, upper, digits, "!#%"}},
		{least: 100, most: 120, classes: []string{lower, upper, digits, "!#%$&()*+,-./:;<=>?@[]^_{|}~"}},
	}
}

// password makes a random one, ended by a zero, for the caller to wipe with
// clear. It is never a string, which nobody could wipe.
func (s strength) password() []uint16 {
	pw := make([]uint16, s.least+below(s.most-s.least+1), s.most+1)
	all := strings.Join(s.classes, "")
	for i := range pw {
		from := all
		if i < len(s.classes) {
			from = s.classes[i]
		}
		pw[i] = uint16(from[below(len(from))])
	}
	for i := len(pw) - 1; i > 0; i-- { // nobody knows where which class is
		j := below(i + 1)
		pw[i], pw[j] = pw[j], pw[i]
	}
	return append(pw, 0)
}

// below is a random number in [0, n), none likelier than another; n is at most
// 256.
func below(n int) int {
	var b [1]byte
	for {
		rand.Read(b[:]) // never fails
		if v := int(b[0]); v < 256/n*n {
			return v % n
		}
	}
}
