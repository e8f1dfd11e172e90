// Package environ says which variables of the agent's environment its children
// do not inherit.
package environ

import "strings"

// ours are variables of the agent's own process: its credentials and what its
// service manager tells it. Names that end in * are prefixes.
func ours() []string {
	return []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_CREDENTIAL_EXPIRATION",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN", "NOTIFY_*", "WATCHDOG_*", "CREDENTIALS_DIRECTORY", "GOMEMLIMIT", "SSMAGENT_*",
	}
}

// Ours says whether the variable is the agent's own.
func Ours(name string) bool {
	for _, o := range ours() {
		if prefix, ok := strings.CutSuffix(o, "*"); ok && strings.HasPrefix(name, prefix) || name == o {
			return true
		}
	}
	return false
}

// Inherited is env without the agent's own variables.
func Inherited(env []string) []string {
	out := make([]string, 0, len(env))
	for _, e := range env {
		if name, _, _ := strings.Cut(e, "="); !Ours(name) {
			out = append(out, e)
		}
	}
	return out
}

// Set returns env with name as value, wherever it stood.
func Set(env []string, name, value string) []string {
	out := env[:0:len(env)]
	for _, e := range env {
		if !strings.HasPrefix(e, name+"=") {
			out = append(out, e)
		}
	}
	return append(out, name+"="+value)
}

// Get is the value of name, empty when it is not there; the last one counts.
func Get(env []string, name string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(env[i], name+"="); ok {
			return v
		}
	}
	return ""
}
