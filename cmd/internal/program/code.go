package program

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxCode bounds an activation code; those of AWS have 20 characters.
const maxCode = 250

// readCode makes the activation code that of -code-file, if there is one.
func (f *agentFlags) readCode(in io.Reader) error {
	switch {
	case f.codeFile == "":
		return nil
	case f.code != "":
		return errors.New("-code and -code-file are given: use one of them")
	case f.codeFile != "-":
		file, err := os.Open(f.codeFile)
		if err != nil {
			return fmt.Errorf("-code-file: %w", err)
		}
		defer file.Close()
		in = file
	}
	code, err := codeLine(in)
	if err != nil {
		return fmt.Errorf("-code-file %s: %w", f.codeFile, err)
	}
	f.code = code
	return nil
}

// codeLine reads one line and nothing behind it, as the answer to a question
// may follow.
func codeLine(in io.Reader) (string, error) {
	var line []byte
	for b := make([]byte, 1); ; {
		n, err := in.Read(b)
		if n == 1 && b[0] != '\n' {
			if line = append(line, b[0]); len(line) > maxCode {
				return "", fmt.Errorf("its first line has more than %d characters, which no activation code has", maxCode)
			}
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		if n == 1 || err != nil {
			break
		}
	}
	code := strings.TrimSpace(string(line))
	if code == "" || strings.ContainsFunc(code, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New("its first line is no activation code: letters and digits, without blanks")
	}
	return code, nil
}
