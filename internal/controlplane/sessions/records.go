package sessions

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"time"

	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/mgs"
)

// State is how far a session has come, as far as it is kept.
type State string

// The states. An active session's status hangs on its channels, which are not
// in the store.
const (
	Active      State = ""
	Terminating State = "Terminating" // ended here, not yet by the agent
	Terminated  State = "Terminated"
	Failed      State = "Failed"
)

// Session is a session's record.
type Session struct {
	ID           string
	NodeID       string
	DocumentName string
	Owner        string // ARN of who started it
	Reason       string
	Start        time.Time
	Idle         time.Duration // without data for so long it ends
	Max          time.Duration // it ends so long after Start; 0: never
	Opened       bool          // the agent had its data channel open
	Seen         bool          // a client was there
	State        State
	End          time.Time
	Details      string // why it ended
	Reported     bool   // the agent said that it ended, or is gone for good
	Log          Log
	Client       Token
	Agent        Token
}

// Log is where the agent put the session's log.
type Log struct{ S3Bucket, S3Key, Group, Stream string }

// Token is an unused token: only its hash is kept. The zero Token is none.
type Token struct {
	Hash    string // hex SHA-256
	Expires time.Time
}

// TokenLife is how long a token may wait to be used.
const TokenLife = 60 * time.Second

// newToken returns a token and what is kept of it.
func newToken(now time.Time) (string, Token) {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	text := base64.RawURLEncoding.EncodeToString(raw)
	return text, Token{Hash: hashOf(text), Expires: now.Add(TokenLife)}
}

func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// fits says whether text is the token, and still good.
func (t Token) fits(text string, now time.Time) bool {
	return t.Hash != "" && subtle.ConstantTimeCompare([]byte(hashOf(text)), []byte(t.Hash)) == 1 && now.Before(t.Expires)
}

// mark is a record of an index: the key says it all.
type mark struct{}

// Tables of this package. The order stands apart because it holds the whole
// document; it is there until the agent has opened its data channel.
var (
	Sessions = store.Table[Session]{Name: "sessions"}       // by id
	orders   = store.Table[string]{Name: "session_orders"}  // by id: payload of interactive_shell
	active   = store.Table[mark]{Name: "sessions_active"}   // by falling start/id
	history  = store.Table[mark]{Name: "sessions_history"}  // by falling start/id
	finished = store.Table[mark]{Name: "sessions_finished"} // by rising end/id
	untold   = store.Table[mark]{Name: "sessions_untold"}   // by node/id: ended, the agent has not said so
)

func fallingKey(t time.Time, id string) string {
	return fmt.Sprintf("%016x/%s", uint64(math.MaxInt64-t.UnixNano()), id)
}

func risingKey(t time.Time, id string) string {
	return fmt.Sprintf("%016x/%s", uint64(t.UnixNano()), id)
}

func untoldKey(node, id string) string { return node + "/" + id }

// idOf is the id at the end of a key; session ids have no slash.
func idOf(key string) string { return key[strings.LastIndexByte(key, '/')+1:] }

// maxUser keeps ids within the API's 96 characters.
const maxUser = 96 - 1 - 17

// newID is the caller's user name, a dash and 17 hex digits.
func newID(arn string) string {
	b := make([]byte, 9)
	_, _ = rand.Read(b) // never fails
	return userOf(arn) + "-" + hex.EncodeToString(b)[:17]
}

// userOf is the name at the end of an ARN, as ids may have it.
func userOf(arn string) string {
	name := arn[strings.LastIndexAny(arn, "/:")+1:]
	name = strings.Map(func(r rune) rune {
		if r < 0x80 && mgs.ValidSessionID("a"+string(r)+"a") {
			return r
		}
		return '_'
	}, name)
	name = strings.TrimLeft(name[:min(len(name), maxUser)], ".-")
	if name == "" {
		return "user"
	}
	return name
}
