package archive

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type entry struct {
	name, text string
	mode       fs.FileMode
}

func pack(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		h.SetMode(e.mode)
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = io.WriteString(f, e.text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func unzip(t testing.TB, b []byte, l Limits) (dir string, err error) {
	t.Helper()
	dir = t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	return dir, Unzip(root, bytes.NewReader(b), int64(len(b)), l)
}

func TestUnzip(t *testing.T) {
	t.Parallel()
	dir, err := unzip(t, pack(t, entry{"install.sh", "echo", 0o755}, entry{"data/", "", 0o777 | fs.ModeDir}, entry{"data/a/b.txt", "text", 0o644}, entry{`win\c.txt`, "back", 0o600}), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"install.sh": "755 echo", "data/a/b.txt": "644 text", "win/c.txt": "600 back"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(dir, name))
		if got := fmt.Sprintf("%o %s", info.Mode().Perm(), b); err != nil || got != want {
			t.Errorf("%s: %s %v", name, got, err)
		}
	}
}

// lying is an archive whose list declares another size for its files.
func lying(t *testing.T, size uint32, names ...string) []byte {
	t.Helper()
	var all []entry
	for _, n := range names {
		all = append(all, entry{n, strings.Repeat("x", 100), 0o600})
	}
	b := pack(t, all...)
	for at := bytes.Index(b, []byte("PK\x01\x02")); at < len(b)-46; at++ {
		if bytes.HasPrefix(b[at:], []byte("PK\x01\x02")) {
			binary.LittleEndian.PutUint32(b[at+24:], size)
		}
	}
	return b
}

func TestHostileArchives(t *testing.T) {
	t.Parallel()
	few := Limits{Entries: 3, Bytes: 1000, Depth: 3}
	var many []entry
	for i := range 2000 {
		many = append(many, entry{fmt.Sprintf("f%d", i), "", 0o600})
	}
	secret := pack(t, entry{"a", "x", 0o600})
	secret[bytes.Index(secret, []byte("PK\x01\x02"))+8] |= encrypted
	for name, tc := range map[string]struct {
		archive []byte
		want    string
	}{
		"link":             {pack(t, entry{"l", "/etc/passwd", 0o777 | fs.ModeSymlink}), "symbolic link"},
		"device":           {pack(t, entry{"d", "", 0o600 | fs.ModeDevice}), "device, a pipe"},
		"pipe":             {pack(t, entry{"p", "", 0o600 | fs.ModeNamedPipe}), "device, a pipe"},
		"set-user-ID":      {pack(t, entry{"s", "", 0o755 | fs.ModeSetuid}), "set-user-ID"},
		"set-group-ID":     {pack(t, entry{"s", "", 0o755 | fs.ModeSetgid}), "set-user-ID"},
		"dots":             {pack(t, entry{"a/../../b", "x", 0o600}), "would not lie below"},
		"backslashed dots": {pack(t, entry{`a\..\..\b`, "x", 0o600}), "would not lie below"},
		"absolute":         {pack(t, entry{"/etc/x", "x", 0o600}), "would not lie below"},
		"NUL":              {pack(t, entry{"a\x00b", "x", 0o600}), "would not lie below"},
		"deep":             {pack(t, entry{"a/b/c/d", "x", 0o600}), "more than 3 deep"},
		"long name":        {pack(t, entry{strings.Repeat("n", 300), "x", 0o600}), "has 300 bytes"},
		"long path":        {pack(t, entry{strings.Repeat("n/", 3000), "", 0o600}), "at most 4096"},
		"twice":            {pack(t, entry{"a", "x", 0o600}, entry{"a", "y", 0o600}), "has it twice"},
		"file and dir":     {pack(t, entry{"a", "x", 0o600}, entry{"a/b", "y", 0o600}), "unpack \"a/b\""},
		"too many":         {pack(t, many[:4]...), "more than 3 entries"},
		"very many":        {pack(t, many...), "more than 3 entries"},
		"too large":        {pack(t, entry{"a", strings.Repeat("x", 1001), 0o600}), "declares more than 1000 bytes"},
		"10 GB declared":   {lying(t, 4<<30-2, "big"), "declares more than 1000 bytes"},
		"says too little":  {lying(t, 10, "big"), "unpack \"big\""},
		"says too much":    {lying(t, 200, "big"), "unpack \"big\""},
		"encrypted":        {secret, "encrypted"},
		"no archive":       {[]byte("#!/bin/sh\n"), "no zip archive"},
		"cut":              {pack(t, entry{"a", "x", 0o600})[:40], "no zip archive"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, err := unzip(t, tc.archive, few)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "..", "*")); len(left) != 1 {
				t.Errorf("beside the directory lie %q", left)
			}
		})
	}
}

// TestTenGigabytes: what is declared counts, not how small the archive is.
func TestTenGigabytes(t *testing.T) {
	t.Parallel()
	if _, err := unzip(t, lying(t, 3_500_000_000, "a", "b", "c"), DefaultLimits()); err == nil || err.Error() != "the archive declares more than 4294967296 bytes of content" {
		t.Error(err)
	}
}

// TestAMillionEntries: the list is not even read to its end.
func TestAMillionEntries(t *testing.T) {
	t.Parallel()
	const count = 1_000_000
	record := append([]byte("PK\x01\x02"), make([]byte, 43)...) // with a name of one NUL
	record[28] = 1
	list := bytes.Repeat(record, count)
	end := append([]byte("PK\x05\x06"), make([]byte, 18)...)
	binary.LittleEndian.PutUint16(end[8:], count&0xffff) // the format's older end has the number modulo 2¹⁶
	binary.LittleEndian.PutUint16(end[10:], count&0xffff)
	binary.LittleEndian.PutUint32(end[12:], uint32(len(list)))
	list = append(list, end...)
	if _, err := unzip(t, list, DefaultLimits()); err == nil || err.Error() != "the archive has more than 100000 entries" {
		t.Error(err)
	}
}

func FuzzUnzip(f *testing.F) {
	f.Add(pack(f, entry{"a/b", "text", 0o755}, entry{"c/", "", fs.ModeDir | 0o700}))
	f.Add(pack(f, entry{"../x", "text", 0o755}, entry{"l", "x", fs.ModeSymlink}))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir, err := unzip(t, b, Limits{Entries: 10, Bytes: 10_000, Depth: 5})
		total := int64(0)
		werr := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			info, err := e.Info()
			if err == nil && !info.Mode().IsRegular() {
				err = fmt.Errorf("%s is %s", e.Name(), info.Mode())
			}
			total += info.Size()
			return err
		})
		if werr != nil || total > 10_000+10 {
			t.Fatalf("%d bytes, %v (%v)", total, werr, err)
		}
	})
}
