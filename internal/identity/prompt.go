package identity

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// errAnswer is what the stock agent says to anything but yes and no.
var errAnswer = errors.New("Invalid response received.") //nolint:staticcheck // the stock agent's words

// Prompt returns a RegisterOptions.Confirm that asks on out and reads one line
// with one word from in, of which the first letter counts.
func Prompt(in io.Reader, out io.Writer) func(Identity) (bool, error) {
	return func(Identity) (bool, error) {
		_, err := fmt.Fprint(out, "\nInstance already registered. Would you like to override existing with new registration information? [Yes/No]: ")
		if err != nil {
			return false, err
		}
		const longest = 1024
		line, err := bufio.NewReader(io.LimitReader(in, longest)).ReadString('\n')
		if err != nil && (line == "" || !errors.Is(err, io.EOF)) {
			return false, fmt.Errorf("read the answer (use -y where nobody can give one): %w", err)
		}
		words := strings.Fields(line)
		if len(words) != 1 {
			return false, errAnswer
		}
		switch words[0][0] {
		case 'y', 'Y':
			return true, nil
		case 'n', 'N':
			return false, nil
		}
		return false, errAnswer
	}
}
