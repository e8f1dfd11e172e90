package program

// logName is the file that the process called name logs to: there is one for
// all, as stock agents have it.
func logName(string) string { return mainLog }
