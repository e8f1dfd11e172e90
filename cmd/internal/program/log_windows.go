package program

// logName is the file that the process called name logs to: each has its own,
// as stock agents have it.
func logName(name string) string { return name }
