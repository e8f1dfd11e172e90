package platform

// Usage is what this process takes of the machine. A member that could not be
// determined is zero.
type Usage struct {
	Files     int   // open files; on Windows handles
	FileLimit int   // of open files; on Windows there is none
	Resident  int64 // bytes of memory
}

// Self tells what this process takes now.
func Self() Usage { return self() }

// Space is that of a file system.
type Space struct {
	Free, Total int64 // bytes; Free is what an unprivileged user may have
	// FreeFiles is how many more files there can be; -1 where that has no end.
	FreeFiles int64
}

// SpaceAt tells of the file system that holds path.
func SpaceAt(path string) (Space, error) { return spaceAt(path) }
