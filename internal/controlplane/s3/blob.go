package s3

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/fsys"
)

// blobs are the files of objects and parts: named at random, so that a key
// never becomes a path, and encrypted with AES-256 in counter mode under a key
// that the store's master key and the name give. A file is written once.
type blobs struct {
	fs     fsys.FS
	dir    string
	master []byte
}

// secrets holds the master key.
var secrets = store.Table[[]byte]{Name: "s3_secrets"}

const masterKey = "objects"

func openBlobs(o Options) (*blobs, error) {
	if err := fsys.MkdirAll(o.FS, o.Dir, 0o700); err != nil {
		return nil, err
	}
	b := &blobs{fs: o.FS, dir: o.Dir}
	err := o.DB.Update(func(tx *store.Tx) (err error) {
		if b.master, _, err = secrets.Get(tx, masterKey); err != nil || len(b.master) > 0 {
			return err
		}
		b.master = make([]byte, 32)
		_, _ = rand.Read(b.master) // never fails
		return secrets.Put(tx, masterKey, b.master)
	})
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	return b, nil
}

// shard is the directory of a blob.
func (b *blobs) shard(name string) string { return filepath.Join(b.dir, name[:2]) }

func (b *blobs) path(name string) string { return filepath.Join(b.shard(name), name) }

// stream is the cipher of a blob from an offset on.
func (b *blobs) stream(name string, offset int64) (cipher.Stream, error) {
	key, err := hkdf.Key(sha256.New, b.master, nil, "s3 object "+name, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	var iv [aes.BlockSize]byte
	binary.BigEndian.PutUint64(iv[8:], uint64(offset/aes.BlockSize))
	s := cipher.NewCTR(block, iv[:])
	var skipped [aes.BlockSize]byte
	s.XORKeyStream(skipped[:offset%aes.BlockSize], skipped[:offset%aes.BlockSize])
	return s, nil
}

// write makes a blob of what r gives until its end. check is asked then, and
// its error, as any other, leaves nothing behind. The blob is durable when
// write returns.
func (b *blobs) write(r io.Reader, check func() error) (name string, size int64, err error) {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails
	name = hex.EncodeToString(raw[:])
	if err := fsys.MkdirAll(b.fs, b.shard(name), 0o700); err != nil {
		return "", 0, err
	}
	f, err := b.fs.OpenFile(b.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", 0, fmt.Errorf("store an object: %w", err)
	}
	s, err := b.stream(name, 0)
	if err == nil {
		size, err = io.CopyBuffer(&cipher.StreamWriter{S: s, W: f}, onlyReader{r}, make([]byte, 64<<10))
	}
	if err == nil {
		err = check()
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = b.fs.SyncDir(b.shard(name))
	}
	if err != nil {
		return "", 0, errors.Join(err, b.fs.Remove(b.path(name)))
	}
	return name, size, nil
}

// onlyReader keeps io.CopyBuffer to its buffer.
type onlyReader struct{ io.Reader }

// remove removes blobs that no object has any more. What cannot be removed
// goes at the next start.
func (b *blobs) remove(names []string) {
	for _, n := range names {
		_ = b.fs.Remove(b.path(n))
	}
}

// read copies length bytes of the pieces from offset on to w.
func (b *blobs) read(w io.Writer, pieces []piece, offset, length int64) error {
	buffer := make([]byte, 64<<10)
	for _, p := range pieces {
		if offset >= p.Size {
			offset -= p.Size
			continue
		}
		n := min(length, p.Size-offset)
		if n <= 0 {
			return nil
		}
		if err := b.readOne(w, p, offset, n, buffer); err != nil {
			return err
		}
		offset, length = 0, length-n
	}
	return nil
}

func (b *blobs) readOne(w io.Writer, p piece, offset, n int64, buffer []byte) error {
	f, err := b.fs.OpenFile(b.path(p.Blob), os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("read an object: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return fmt.Errorf("read an object: %w", err)
	}
	s, err := b.stream(p.Blob, offset)
	if err != nil {
		return err
	}
	m, err := io.CopyBuffer(struct{ io.Writer }{w}, io.LimitReader(cipher.StreamReader{S: s, R: f}, n), buffer)
	if err == nil && m < n {
		err = fmt.Errorf("read an object: its file is %d bytes short", n-m)
	}
	return err
}

// names calls do for all blobs on disk.
func (b *blobs) names(do func(name string)) error {
	shards, err := b.fs.ReadDir(b.dir)
	if err != nil {
		return err
	}
	for _, s := range shards {
		if !s.IsDir() || len(s.Name()) != 2 {
			continue
		}
		files, err := b.fs.ReadDir(filepath.Join(b.dir, s.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, f := range files {
			if n := f.Name(); len(n) == 32 && strings.Trim(n, "0123456789abcdef") == "" && n[:2] == s.Name() {
				do(n)
			}
		}
	}
	return nil
}
