package signature_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"ssmagent/internal/signature"
)

var now = time.Date(2026, 3, 9, 10, 11, 12, 0, time.UTC)

func config() *packet.Config {
	return &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return now }}
}

// person is somebody who signs.
func person(t testing.TB, name string) (*openpgp.Entity, signature.Keys) {
	t.Helper()
	e, err := openpgp.NewEntity(name, "", name+"@example.org", config())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := e.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	k, err := signature.ReadKeys(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return e, k
}

// sign is a detached signature; nobody's is none.
func sign(t testing.TB, e *openpgp.Entity, content []byte) []byte {
	t.Helper()
	if e == nil {
		return nil
	}
	var b bytes.Buffer
	if err := openpgp.ArmoredDetachSign(&b, e, bytes.NewReader(content), config()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func ar(members ...string) []byte {
	b := []byte("!<arch>\n")
	for i := 0; i < len(members); i += 2 {
		b = fmt.Appendf(b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n%s", members[i], 0, 0, 0, "100644", len(members[i+1]), members[i+1])
		if len(members[i+1])%2 == 1 {
			b = append(b, '\n')
		}
	}
	return b
}

// deb is a package by e.
func deb(t testing.TB, e *openpgp.Entity) []byte {
	t.Helper()
	members := []string{"debian-binary", "2.0\n", "control.tar.gz", "control", "data.tar.xz", "all the files"}
	if s := sign(t, e, []byte("2.0\ncontrolall the files")); s != nil {
		members = append(members, "_gpgorigin", string(s))
	}
	return ar(members...)
}

// rpm is a package by e.
func rpm(t testing.TB, e *openpgp.Entity) []byte {
	t.Helper()
	const body = "\x8e\xad\xe8\x01header and content"
	b := append([]byte{0xed, 0xab, 0xee, 0xdb}, make([]byte, 92)...)
	var index, store []byte
	entry := func(tag, kind uint32, content []byte) {
		for _, n := range []uint32{tag, kind, uint32(len(store)), uint32(len(content))} {
			index = binary.BigEndian.AppendUint32(index, n)
		}
		store = append(store, content...)
	}
	entry(1000, 4, []byte{0, 0, 0, 1})
	if e != nil {
		var s bytes.Buffer
		if err := openpgp.DetachSign(&s, e, strings.NewReader(body), config()); err != nil {
			t.Fatal(err)
		}
		entry(1002, 7, s.Bytes())
	}
	head := append([]byte{0x8e, 0xad, 0xe8, 1}, make([]byte, 4)...)
	head = binary.BigEndian.AppendUint32(head, uint32(len(index)/16))
	head = binary.BigEndian.AppendUint32(head, uint32(len(store)))
	head = append(append(head, index...), store...)
	head = append(head, make([]byte, (8-len(head)%8)%8)...)
	return append(append(b, head...), body...)
}

// changed is b with one byte of what was signed changed.
func changed(b []byte, what string) []byte {
	return bytes.Replace(b, []byte(what), []byte(strings.ToUpper(what)), 1)
}

func TestCheck(t *testing.T) {
	t.Parallel()
	ada, trusted := person(t, "ada")
	bob, _ := person(t, "bob")
	files := []byte("a tree of files")
	for _, tc := range []struct {
		name, file      string
		content, beside []byte
		want            error
	}{
		{"deb", "a.deb", deb(t, ada), nil, nil},
		{"deb of somebody else", "a.deb", deb(t, bob), nil, signature.ErrUntrusted},
		{"deb that nobody signed", "a.deb", deb(t, nil), nil, signature.ErrUnsigned},
		{"deb with other files", "a.deb", changed(deb(t, ada), "files"), nil, signature.ErrAltered},
		{"deb with other scripts", "a.deb", bytes.Replace(deb(t, ada), []byte("`\ncontrol"), []byte("`\nCONTROL"), 1), nil, signature.ErrAltered},
		{"deb with a second tree", "a.deb", append(deb(t, ada), ar("data.tar.gz", "more")[8:]...), nil, signature.ErrFormat},
		{"deb with a tree before", "a.deb", ar("debian-binary", "2.0\n", "data.tar", "x", "control.tar", "x", "data.tar", "x", "_gpgorigin", "x"), nil, signature.ErrFormat},
		{"deb that is cut off", "a.deb", deb(t, ada)[:200], nil, signature.ErrFormat},
		{"deb that is an rpm", "a.deb", rpm(t, ada), nil, signature.ErrFormat},
		{"rpm", "a.rpm", rpm(t, ada), nil, nil},
		{"rpm of somebody else", "a.rpm", rpm(t, bob), nil, signature.ErrUntrusted},
		{"rpm that nobody signed", "a.rpm", rpm(t, nil), nil, signature.ErrUnsigned},
		{"rpm with other content", "a.rpm", changed(rpm(t, ada), "content"), nil, signature.ErrAltered},
		{"rpm that is cut off", "a.rpm", rpm(t, ada)[:120], nil, signature.ErrFormat},
		{"rpm that is nothing", "a.rpm", nil, nil, signature.ErrFormat},
		{"tarball", "a.tar.gz", files, sign(t, ada, files), nil},
		{"tarball of somebody else", "a.tar.gz", files, sign(t, bob, files), signature.ErrUntrusted},
		{"tarball without a signature", "a.tar.gz", files, nil, signature.ErrUnsigned},
		{"tarball that was changed", "a.tar.gz", changed(files, "tree"), sign(t, ada, files), signature.ErrAltered},
		{"endless signature", "a.tar.gz", files, make([]byte, 1<<20), signature.ErrFormat},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			by, err := trusted.Check(tc.file, tc.content, tc.beside, now)
			if !errors.Is(err, tc.want) || tc.want == nil && (err != nil || by != trusted.String()) {
				t.Errorf("by %q: %v", by, err)
			}
		})
	}
}

func TestReadKeys(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "no key", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----\n", strings.Repeat("x", 2<<20)} {
		if k, err := signature.ReadKeys([]byte(text)); err == nil {
			t.Errorf("%.40q is taken for %v", text, k)
		}
	}
}

func FuzzCheck(f *testing.F) {
	ada, trusted := person(f, "ada")
	bob, _ := person(f, "bob")
	for _, b := range [][]byte{deb(f, ada), deb(f, bob), deb(f, nil)} {
		f.Add(".deb", b, []byte(nil))
	}
	f.Add(".rpm", rpm(f, bob), []byte(nil))
	f.Add(".tar.gz", []byte("files"), sign(f, bob, []byte("files")))
	f.Fuzz(func(t *testing.T, name string, content, beside []byte) {
		if _, err := trusted.Check(name, content, beside, now); err != nil {
			return
		}
		for _, part := range []string{"2.0\n", "control", "all the files"} { // ada has signed nothing else
			if !bytes.Contains(content, []byte(part)) {
				t.Errorf("%q is taken for signed", content)
			}
		}
	})
}

func FuzzReadKeys(f *testing.F) {
	f.Add([]byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEaa==\n-----END PGP PUBLIC KEY BLOCK-----\n"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		if k, err := signature.ReadKeys(b); err == nil {
			_ = k.String()
		}
	})
}
