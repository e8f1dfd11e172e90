package doc

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// ErrName says that an id or a name from outside cannot be used: it could
// become a path that leads elsewhere.
var ErrName = errors.New("unusable name")

const maxName = 128 // bytes of an id or a step name

// ValidID is the rule for every id from outside (command, job, association,
// session, node) before it becomes part of a path: 1 to 128 of
// [A-Za-z0-9_.:-], and also without its colons (which are removed when a
// directory is named after it) no "." alone and no "..".
func ValidID(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("_.:-", rune(c)) {
			return false
		}
	}
	return safeElement(withoutColons(s))
}

// ValidStepName is the rule for the names of steps and actions: 1 to 128 bytes
// of printable UTF-8, blanks inside allowed, nothing that separates paths or
// that a file system of either kind refuses, and a directory name that stays
// where it is put.
func ValidStepName(s string) bool {
	if s == "" || len(s) > maxName || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) || strings.ContainsRune(`/\<>"|?*`, r) {
			return false
		}
	}
	return safeElement(withoutColons(s))
}

// Dir is the directory named after a step or an action: the name without
// colons. A name that breaks ValidStepName is an ErrName.
func Dir(name string) (string, error) {
	if !ValidStepName(name) {
		return "", fmt.Errorf("%w: step name %s must be 1 to %d printable characters without slashes, \"..\" or any of <>|?*; rename the step", ErrName, quoted(name), maxName)
	}
	return withoutColons(name), nil
}

// PropertyDir is the directory named after the id input of a property block;
// empty, as for no id, when the id is not usable as one name. Stock agents
// test for a leading ../ or ~/ only.
func PropertyDir(id string) string {
	if !ValidStepName(id) || strings.HasPrefix(id, "~") {
		return ""
	}
	return withoutColons(id)
}

func withoutColons(s string) string { return strings.ReplaceAll(s, ":", "") }

// safeElement also refuses what Windows would silently shorten.
func safeElement(s string) bool {
	return s != "" && s != "." && !strings.Contains(s, "..") && !strings.HasSuffix(s, ".") &&
		strings.TrimSpace(s) == s
}

var messageID = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`aws\.ssm\..+\.+`) })

// CommandID is the command id inside a message id
// ("aws.ssm.<command>.<node>"): the second-last part between dots.
func CommandID(id string) (string, error) {
	parts := strings.Split(id, ".")
	if len(id) > 4*maxName || !messageID().MatchString(id) {
		return "", fmt.Errorf("%w: message id %s is not of the form aws.ssm.<command id>.<node id>", ErrName, quoted(id))
	}
	c := parts[len(parts)-2]
	if !ValidID(c) {
		return "", fmt.Errorf("%w: message id %s holds no usable command id", ErrName, quoted(id))
	}
	return c, nil
}

// quoted shows text from outside in an error, bounded.
func quoted(s string) string {
	if len(s) > 100 {
		return fmt.Sprintf("%q…", s[:100])
	}
	return fmt.Sprintf("%q", s)
}
