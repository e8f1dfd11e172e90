package agent

import (
	"net/http"
	"strings"
	"testing"
	"unicode"
)

func TestCallerOf(t *testing.T) {
	t.Parallel()
	const good = `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:sts::1:assumed-role/x/mi-1</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>`
	for _, c := range []struct {
		status     int
		body       string
		arn, fault string
	}{
		{http.StatusOK, good, "arn:aws:sts::1:assumed-role/x/mi-1", ""},
		{http.StatusForbidden, good, "", "HTTP 403"},
		{http.StatusForbidden, `<ErrorResponse><Error><Code>ExpiredToken</Code><Message>too old</Message></Error></ErrorResponse>`, "", "ExpiredToken: too old"},
		{http.StatusOK, `<html>`, "", "is the endpoint right?"},
		{http.StatusOK, ``, "", "is the endpoint right?"},
	} {
		who, err := callerOf(c.status, []byte(c.body))
		if who.Arn != c.arn || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%d %s: %+v, %v", c.status, c.body, who, err)
		}
	}
}

// FuzzCallerOf: whatever answers, there is an ARN of one printable line or an
// error.
func FuzzCallerOf(f *testing.F) {
	f.Add([]byte("<a><GetCallerIdentityResult><Arn>arn:x\n</Arn></GetCallerIdentityResult></a>"))
	f.Add([]byte("<a><Error><Code>c\x7f</Code></Error></a>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		who, err := callerOf(http.StatusOK, b)
		text := who.Arn
		if err != nil {
			text = err.Error()
		}
		if (err == nil) != (who.Arn != "") || strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("%+v, %v", who, err)
		}
	})
}
