package journal

// open says no: the event log takes no fields, and services have no standard
// error; their log files have everything.
func open(string) (Sender, bool) { return nil, false }
