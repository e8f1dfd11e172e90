//go:build unix

package software

import (
	"errors"
	"fmt"
)

func list() ([]Program, error) {
	return nil, fmt.Errorf("list the installed programs: the databases of this system are not read yet: %w", errors.ErrUnsupported)
}

func productCode(file string) (string, error) {
	return "", fmt.Errorf("read the product's code from %s: there is no Windows Installer on this system: %w", file, errors.ErrUnsupported)
}
