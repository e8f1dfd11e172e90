package proc

// ForgetArguments takes this process' command line from the lists of processes
// that others can see, if the system can: for a secret in it. Os.Args stays. Who
// has looked, or records how processes start, has it already.
func ForgetArguments() { forgetArguments() }
