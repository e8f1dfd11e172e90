// Package secret is text that no log and no message shows.
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

// Text is a secret: a token, a key, an activation's code. It is encoded as the
// text that it is, for the service or the vault, but printed as Hidden by
// every verb. Only an exported member of a struct is safe so: the library
// prints what is not exported by itself.
type Text string

// Hidden is what is printed of a secret.
const Hidden = "[secret]"

// Format implements fmt.Formatter.
func (Text) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Hidden) }

// String implements fmt.Stringer, for who prints without fmt.
func (Text) String() string { return Hidden }

// LogValue implements slog.LogValuer.
func (Text) LogValue() slog.Value { return slog.StringValue(Hidden) }
