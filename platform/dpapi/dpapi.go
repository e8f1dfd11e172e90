// Package dpapi is the seam for Windows' data protection: bytes that only this
// machine can open. Any program on it could, so their file has rights besides.
package dpapi

// Seal makes bytes that Open undoes, on this machine only. Where there is no such
// thing the error wraps errors.ErrUnsupported.
func Seal(plain []byte) ([]byte, error) { return seal(plain) }

// Open undoes Seal. Bytes of another machine, or damaged ones, are an error.
func Open(sealed []byte) ([]byte, error) { return open(sealed) }
