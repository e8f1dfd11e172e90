package signature

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const (
	arMagic  = "!<arch>\n"
	arHeader = 60
)

// member is one file of an ar archive.
type member struct {
	name    string
	content []byte
}

// debian takes a deb apart into what was signed and the signature: the three
// members that every deb has, in their order, and the signature after them.
// Nothing else may be there: dpkg would look at what nobody signed.
func debian(b []byte) (signed, signature []byte, err error) {
	members, err := unpackAr(b)
	if err != nil {
		return nil, nil, err
	}
	want := []string{"debian-binary", "control.tar", "data.tar", "_gpg"}
	if len(members) == len(want)-1 {
		want = want[:len(members)]
	}
	same := slices.EqualFunc(members, want, func(m member, name string) bool {
		return m.name == name || name != "debian-binary" && strings.HasPrefix(m.name, name)
	})
	if !same {
		return nil, nil, fmt.Errorf("%w: a deb has debian-binary, control.tar, data.tar and a signature, in this order and nothing else", ErrFormat)
	}
	if len(members) == 3 {
		return nil, nil, ErrUnsigned
	}
	for _, m := range members[:3] {
		signed = append(signed, m.content...)
	}
	return signed, members[3].content, nil
}

// unpackAr reads an ar archive of a few members.
func unpackAr(b []byte) ([]member, error) {
	rest, ok := bytes.CutPrefix(b, []byte(arMagic))
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin as a deb", ErrFormat)
	}
	var all []member
	for len(rest) > 0 && len(all) < 10 {
		if len(rest) < arHeader || string(rest[58:arHeader]) != "`\n" {
			return nil, fmt.Errorf("%w: it is cut off", ErrFormat)
		}
		size, err := strconv.ParseUint(strings.TrimRight(string(rest[48:58]), " "), 10, 31)
		if err != nil || int(size) > len(rest)-arHeader {
			return nil, fmt.Errorf("%w: it is cut off", ErrFormat)
		}
		end := arHeader + int(size)
		all = append(all, member{strings.TrimRight(strings.TrimRight(string(rest[:16]), " "), "/"), rest[arHeader:end]})
		rest = rest[min(end+end%2, len(rest)):]
	}
	return all, nil
}
