package sigv4

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// TestRecordedCLI verifies requests that the AWS CLI signed, as they came in.
func TestRecordedCLI(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.http")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Parse(r)
			if err != nil {
				t.Fatal(err)
			}
			if s.CredentialID != "AKIDEXAMPLE" || s.Token != "TOKEN/+=" || !s.Verify(r, body, "SECRET") {
				t.Errorf("refused: %+v", s)
			}
			if s.Verify(r, append(body, ' '), "SECRET") {
				t.Error("verifies with another body")
			}
		})
	}
}
