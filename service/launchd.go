package service

import (
	_ "embed"
	"encoding/xml"
	"fmt"
	"strings"
)

//go:embed com.amazon.aws.ssm.plist
var plist string

// macPackaged is where packages of macOS put the agent, and macName what launchd
// calls it, as the text of the job has it.
const (
	macPackaged = "/opt/aws/ssm/bin/amazon-ssm-agent"
	macName     = "com.amazon.aws.ssm"
)

// Plist is the text of launchd's job that packages ship: its workers outlive
// it, and it is started again whenever it ends.
func Plist() string { return plist }

// plistFor is the job with another name, program and arguments.
func plistFor(name, executable string, args []string) string {
	const indent = "\n\t\t"
	var words []string
	for _, w := range append([]string{executable}, args...) {
		words = append(words, "<string>"+escapeXML(w)+"</string>")
	}
	text := strings.Replace(plist, "<string>"+macPackaged+"</string>", strings.Join(words, indent), 1)
	return strings.Replace(text, "<string>"+macName+"</string>", "<string>"+escapeXML(name)+"</string>", 1)
}

func escapeXML(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}

// noTemplate refuses words that the library, which takes a unit or a job for a
// template, would read.
func noTemplate(executable string, args []string) error {
	for _, word := range append([]string{executable}, args...) {
		if strings.Contains(word, "{{") {
			return fmt.Errorf("%q: two opening braces cannot stand in a service's command line", word)
		}
	}
	return nil
}
