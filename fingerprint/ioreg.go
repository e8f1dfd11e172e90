package fingerprint

import (
	"slices"
	"strings"
)

// ioRegistry is what ioreg prints of some objects: their properties, with the
// values as they stand there.
type ioRegistry []map[string]string

// maxObjects bounds what is read of an answer.
const maxObjects = 1024

// parseIORegistry reads `ioreg -rd1 -c CLASS`: for each object a line that begins
// with +-o, and its properties in braces, one a line.
func parseIORegistry(out string) ioRegistry {
	var all ioRegistry
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "+-o ") && len(all) < maxObjects {
			all = append(all, map[string]string{})
			continue
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(line, `"`), `" = `)
		if ok && len(all) > 0 && strings.HasPrefix(line, `"`) {
			all[len(all)-1][name] = value
		}
	}
	return all
}

// ioText is a value without what surrounds it: quotes, and angle brackets of
// data that is text.
func ioText(value string) string {
	if s, ok := strings.CutPrefix(value, "<"); ok {
		value = strings.TrimSuffix(s, ">")
	}
	return strings.Trim(value, `"`)
}

// ioMember is the text of a member of a value that is a dictionary on one line:
// {"Name"="text","Size"=12}.
func ioMember(value, name string) string {
	_, rest, ok := strings.Cut(value, `"`+name+`"=`)
	if !ok {
		return ""
	}
	if quoted, ok := strings.CutPrefix(rest, `"`); ok {
		text, _, _ := strings.Cut(quoted, `"`)
		return strings.TrimSpace(text)
	}
	end := strings.IndexAny(rest, ",}")
	if end < 0 {
		return ""
	}
	return rest[:end]
}

// platformFacts are those of the IOPlatformExpertDevice: what the machine is,
// and its own numbers.
func platformFacts(all ioRegistry) []string {
	var facts []string
	for _, object := range all {
		for _, name := range []string{"manufacturer", "model", "board-id", "IOPlatformSerialNumber", "IOPlatformUUID"} {
			facts = append(facts, name+"="+ioText(object[name]))
		}
	}
	return facts
}

// storageDevices are the disks among objects of IOBlockStorageDevice that are built in.
func storageDevices(all ioRegistry) []string {
	var facts []string
	for _, object := range all {
		if ioMember(object["Protocol Characteristics"], "Physical Interconnect Location") != "Internal" {
			continue
		}
		disk := object["Device Characteristics"]
		facts = append(facts, ioMember(disk, "Vendor Name")+"|"+ioMember(disk, "Product Name")+"|"+ioMember(disk, "Serial Number"))
	}
	slices.Sort(facts)
	return facts
}
