package program

// escapeHelp is shown at Enter ~ ?. Lines end for a terminal in raw mode.
const escapeHelp = "\r\nAfter Enter:\r\n" +
	"  ~.   end the session and leave\r\n" +
	"  ~~   send a ~\r\n" +
	"  ~?   this help\r\n"

// escapeAction is what a person asked of us instead of the remote program.
type escapeAction int

const (
	escapeNone escapeAction = iota
	escapeLeave
	escapeHelpWanted
)

// escapes finds what is meant for us in what is typed. As with ssh a ~ counts
// at the start of a line only. The zero value is at the end of one: use
// newEscapes.
type escapes struct {
	lineStart bool
	pending   bool // a ~ was typed that has not been sent
}

func newEscapes() escapes { return escapes{lineStart: true} }

// feed appends to out what of in is to be sent, up to the first action, and
// returns how many bytes of in it has used.
func (e *escapes) feed(out, in []byte) (sent []byte, used int, action escapeAction) {
	for i, c := range in {
		if e.pending {
			e.pending = false
			switch c {
			case '.':
				return out, i + 1, escapeLeave
			case '?':
				return out, i + 1, escapeHelpWanted
			case '~':
				out = append(out, c)
				e.lineStart = false
				continue
			}
			out = append(out, '~')
		} else if c == '~' && e.lineStart {
			e.pending = true
			continue
		}
		out = append(out, c)
		e.lineStart = c == '\r' || c == '\n'
	}
	return out, len(in), escapeNone
}
