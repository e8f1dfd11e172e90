package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"time"
)

// tree is a tar.gz of root's files below dir. The first error stays.
type tree struct {
	dir string
	at  time.Time
	out bytes.Buffer
	zip *gzip.Writer
	tar *tar.Writer
	err error
}

func newTree(dir string, at time.Time) *tree {
	t := &tree{dir: dir, at: at}
	t.zip, t.err = gzip.NewWriterLevel(&t.out, gzip.BestCompression)
	t.tar = tar.NewWriter(t.zip)
	return t
}

func (t *tree) file(to, from string, mode int64) {
	b, err := os.ReadFile(from)
	if err != nil && t.err == nil {
		t.err = err
	}
	t.add(to, b, mode)
}

func (t *tree) add(to string, b []byte, mode int64) {
	t.header(&tar.Header{Typeflag: tar.TypeReg, Name: filepath.Join(t.dir, to), Mode: mode, Size: int64(len(b))})
	if t.err == nil {
		_, t.err = t.tar.Write(b)
	}
}

// header says who owns an entry, and since when.
func (t *tree) header(h *tar.Header) {
	h.Uname, h.Gname, h.ModTime, h.Format = "root", "root", t.at, tar.FormatUSTAR
	if t.err == nil {
		t.err = t.tar.WriteHeader(h)
	}
}

func (t *tree) bytes() ([]byte, error) {
	for _, c := range []interface{ Close() error }{t.tar, t.zip} {
		if t.err == nil {
			t.err = c.Close()
		}
	}
	return t.out.Bytes(), t.err
}
