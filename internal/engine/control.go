package engine

import "ssmagent/internal/wire/doc"

// Exit codes with a meaning for the rest of the document.
const (
	codeStopSuccess = 168
	codeStopFailed  = 169
)

const (
	note168       = "\nExit code 168: the step counts as successful and the steps after it are skipped."
	note169       = "\nExit code 169: the step failed and the steps after it are skipped."
	noteOnFailure = "\nThe step failed and its onFailure input says to skip the steps after it."
)

// input reads a member of a step's inputs; a list of inputs has none.
func input(s doc.Step, name string) any {
	m, ok := s.Inputs.(map[string]any)
	if !ok {
		return nil
	}
	return m[name]
}

// finally says that the step is to run after an exit, if it is the last.
func finally(s doc.Step) bool {
	v := input(s, "finallyStep")
	return v == true || v == "true"
}

// control rewrites a result by its exit code and the step's onFailure.
func control(s doc.Step, res *doc.Result) {
	onFailure := input(s, "onFailure")
	switch {
	case res.Code == codeStopSuccess:
		res.Status, res.Error, res.StandardError = doc.Success, "", ""
		res.StandardOutput += note168
	case res.Code == codeStopFailed:
		res.StandardOutput += note169
		res.StandardError += note169
	case res.Status == doc.Failed && (onFailure == "exit" || onFailure == "successAndExit"):
		res.StandardOutput += noteOnFailure
		res.StandardError += noteOnFailure
		if onFailure == "successAndExit" {
			res.Status, res.Code = doc.Success, codeStopSuccess
		}
	}
}

// exits says that a result makes the steps after it be skipped.
func exits(s doc.Step, res doc.Result) bool {
	onFailure := input(s, "onFailure")
	return res.Code == codeStopSuccess || res.Code == codeStopFailed ||
		res.Status == doc.Failed && (onFailure == "exit" || onFailure == "successAndExit") ||
		res.Status == doc.Success && input(s, "onSuccess") == "exit"
}
