package api

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"ssmagent/internal/wire/ssm"
)

// constraints are those of one member, from its `check` tag (wire/ssm).
type constraints struct {
	required bool
	min, max int
	hasMin   bool
	hasMax   bool
	enum     []string
	pattern  string
}

func parseConstraints(tag string) (c constraints) {
	for part := range strings.SplitSeq(tag, ",") {
		k, v, _ := strings.Cut(part, "=")
		switch k {
		case "required":
			c.required = true
		case "min":
			c.min, _ = strconv.Atoi(v)
			c.hasMin = true
		case "max":
			c.max, _ = strconv.Atoi(v)
			c.hasMax = true
		case "enum":
			c.enum = strings.Split(v, "|")
		case "re":
			c.pattern = v
		}
	}
	return c
}

// pattern is a rule of the model with its words for messages.
type pattern struct {
	re   func() *regexp.Regexp
	says string
}

// lazy compiles an expression when it is first asked for: this program is also
// workers, which never are asked.
func lazy(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

const labelChars = `[\p{L}\p{Z}\p{N}_.:/=+\-@]*`

// patterns are the model's, by the names that `check` tags use.
var patterns = map[string]pattern{
	"label":           {lazy(`^` + labelChars + `$`), "letters, digits, blanks and _.:/=+-@"},
	"uuid":            {lazy(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`), "a UUID in lower case"},
	"managedId":       {lazy(`^mi-[0-9a-f]{17}$`), "mi- and 17 hexadecimal digits"},
	"instanceId":      {lazy(`^(i-(\w{8}|\w{17})|mi-\w{17})$`), "i- and 8 or 17, or mi- and 17 word characters"},
	"documentName":    {lazy(`^[a-zA-Z0-9_\-.]{3,128}$`), "3 to 128 letters, digits and _-."},
	"documentArn":     {lazy(`^[a-zA-Z0-9_\-.:/]{3,128}$`), "a document name or ARN of 3 to 128 letters, digits and _-.:/"},
	"documentVersion": {lazy(`^([$]LATEST|[$]DEFAULT|[1-9][0-9]{0,8})$`), "$LATEST, $DEFAULT or a number from 1"},
	"versionNumber":   {lazy(`^[1-9][0-9]{0,8}$`), "a number from 1"},
	"versionName":     {lazy(`^[a-zA-Z0-9_\-.]{1,128}$`), "1 to 128 letters, digits and _-."},
	"attachmentName":  {lazy(`^[a-zA-Z0-9_\-.]{3,128}$`), "3 to 128 letters, digits and _-."},
	"displayName":     {lazy(`^[\w.\-:/ ]*$`), "letters, digits, blanks and _.-:/"},
	"targetType":      {lazy(`^/[\w.\-:/]*$`), "/ and letters, digits and _.-:/"},
	"concurrency":     {lazy(`^([1-9][0-9]{0,6}|[1-9][0-9]?%|100%)$`), "a number from 1 of at most 7 digits, or 1% to 100%"},
	"errors":          {lazy(`^(0|[1-9][0-9]{0,6}|[0-9]%|[1-9][0-9]%|100%)$`), "a number from 0 of at most 7 digits, or 0% to 100%"},
	"logGroup":        {lazy(`^[.\-_/#A-Za-z0-9]{1,512}$`), "1 to 512 letters, digits and .-_/#"},
	"logStream":       {lazy(`^[^:*\x00]{1,512}$`), "1 to 512 characters without : and *"},
	"inventoryType":   {lazy(`^(AWS|Custom):.*$`), "AWS: or Custom: and a name"},
	"inventorySchema": {lazy(`^[0-9]{1,6}\.[0-9]{1,6}$`), "two numbers with a dot between"},
}

// text checks a string member; "" means it may stay.
func (c constraints) text(s string) string {
	n := len([]rune(s))
	switch {
	case c.hasMin && n < c.min, c.hasMax && n > c.max:
		return fmt.Sprintf("has %d characters, needs %s", n, c.span())
	case c.pattern != "" && !patterns[c.pattern].re().MatchString(s):
		return fmt.Sprintf("is %s, needs %s", clip(s), patterns[c.pattern].says)
	case len(c.enum) > 0:
		for _, e := range c.enum {
			if s == e {
				return ""
			}
		}
		return fmt.Sprintf("is %s, needs one of %s", clip(s), strings.Join(c.enum, ", "))
	}
	return ""
}

func (c constraints) number(n float64) string {
	if c.hasMin && n < float64(c.min) || c.hasMax && n > float64(c.max) {
		return fmt.Sprintf("is %s, needs %s", strconv.FormatFloat(n, 'f', -1, 64), c.span())
	}
	return ""
}

func (c constraints) length(n int) string {
	if c.hasMin && n < c.min || c.hasMax && n > c.max {
		return fmt.Sprintf("has %d elements, needs %s", n, c.span())
	}
	return ""
}

func (c constraints) span() string {
	switch {
	case c.hasMin && c.hasMax && c.min == c.max:
		return strconv.Itoa(c.min)
	case c.hasMin && c.hasMax:
		return fmt.Sprintf("%d to %d", c.min, c.max)
	case c.hasMin:
		return fmt.Sprintf("at least %d", c.min)
	}
	return fmt.Sprintf("at most %d", c.max)
}

// clip quotes a value for a message, cut to a length that fits one.
func clip(s string) string { return strconv.Quote(Clip(s, 64)) }

// Clip cuts what a caller sent for a message to so many characters.
func Clip(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// Matches says whether s fits the pattern of that name in the model.
func Matches(name, s string) bool { return patterns[name].re().MatchString(s) }

// CheckTags validates tags given at member: keys and values of the model's
// form, no key twice, none of the keys that AWS keeps for itself.
func CheckTags(member string, tags []ssm.Tag) *Error {
	seen := map[string]bool{}
	for i, t := range tags {
		label := patterns["label"].re()
		switch n := len([]rune(t.Key)); {
		case n < 1 || n > 128 || !label.MatchString(t.Key):
			return Errorf(CodeValidation, "%s[%d].Key is %s, needs 1 to 128 %s", member, i, clip(t.Key), patterns["label"].says)
		case len([]rune(t.Value)) > 256 || !label.MatchString(t.Value):
			return Errorf(CodeValidation, "%s[%d].Value is %s, needs at most 256 %s", member, i, clip(t.Value), patterns["label"].says)
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return Errorf(CodeValidation, "%s[%d].Key is %s: keys that begin with aws: are reserved", member, i, clip(t.Key))
		case seen[t.Key]:
			return Errorf(CodeValidation, "%s has the key %s twice", member, clip(t.Key))
		}
		seen[t.Key] = true
	}
	return nil
}
