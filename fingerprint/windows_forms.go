package fingerprint

// The stock agent on Windows notes digests of what two tools print. Which one
// depends on the system's version.

// query is one property in both tools' words.
type query struct {
	property   string
	wmic       []string
	class      string
	properties string
}

func windowsQueries() []query {
	brief := func(alias string) []string { return []string{alias, "list", "brief"} }
	return []query{
		{UUID, []string{"csproduct", "get", "UUID"}, "Win32_ComputerSystemProduct", "UUID"},
		{"processor-hash", brief("cpu"), "WIN32_PROCESSOR", "Caption, DeviceID, Manufacturer, MaxClockSpeed, Name, SocketDesignation"},
		{"memory-hash", brief("memorychip"), "Win32_PhysicalMemory", "Capacity, DeviceLocator, MemoryType, Name, Tag, TotalWidth"},
		{"bios-hash", brief("bios"), "Win32_BIOS", "Manufacturer, Name, SerialNumber, SMBIOSBIOSVersion, Version"},
		{"system-hash", brief("computersystem"), "Win32_ComputerSystem", "Domain, Manufacturer, Model, Name, PrimaryOwnerName, TotalPhysicalMemory"},
		{"disk-info", brief("diskdrive"), "Win32_DiskDrive", "Caption, DeviceID, Model, Partitions, Size"},
	}
}

// pipeline is the query for PowerShell, one argument.
func (q query) pipeline() string {
	return "Get-CimInstance -ClassName " + q.class + " | Select-Object " + q.properties + " | ConvertTo-Json"
}

// usesCIM says which tool the stock agent asks on a system of this version.
func usesCIM(major, build uint32) bool { return major >= 10 && build >= 26040 }

// uuidDigest is the value of UUID, empty on a machine without one.
func uuidDigest(uuid string, cim bool) string {
	if uuid == "" {
		return ""
	}
	return Digest([]byte(uuidOutput(uuid, cim)))
}

// uuidOutput is what the tool prints for the UUID of the machine, so that its
// digest can be had without running it.
func uuidOutput(uuid string, cim bool) string {
	if cim {
		return "{\r\n    \"UUID\":  \"" + uuid + "\"\r\n}\r\n"
	}
	// Columns are as wide as their widest word and two blanks more.
	const header = "UUID                                  "
	return header + "\r\r\n" + uuid + "  \r\r\n\r\r\n"
}
