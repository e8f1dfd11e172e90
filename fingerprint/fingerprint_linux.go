package fingerprint

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

func read(context.Context) (map[string]string, error) { return readBelow("/"), nil }

// readBelow reads the files below root.
func readBelow(root string) map[string]string {
	r := reader(root)
	return map[string]string{
		MachineID: r.machineID(),
		Processor: digestFacts(processorFacts(r.file("proc/cpuinfo"))),
		Memory:    digestFacts(r.memory()),
		BIOS:      digestFacts(r.dmi("bios_vendor", "bios_version", "bios_date")),
		System:    digestFacts(r.system()),
		Disk:      digestFacts(r.disks()),
	}
}

// reader reads files below its own value.
type reader string

// file is empty when it cannot be read: without root's rights some cannot.
func (r reader) file(name string) string {
	f, err := os.Open(filepath.Join(string(r), name))
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4<<20))
	if err != nil {
		return ""
	}
	return string(b)
}

func (r reader) line(name string) string {
	return strings.TrimSpace(strings.ToValidUTF8(r.file(name), "?"))
}

// machineID has its final line feed, as the stock agent keeps it.
func (r reader) machineID() string {
	if id := r.file("etc/machine-id"); id != "" {
		return id
	}
	return r.file("var/lib/dbus/machine-id")
}

// memory is what is plugged in, where the kernel tells; else what it manages.
func (r reader) memory() []string {
	blocks, _ := filepath.Glob(filepath.Join(string(r), "sys/devices/system/memory/memory[0-9]*"))
	size, err := strconv.ParseUint(r.line("sys/devices/system/memory/block_size_bytes"), 16, 63)
	if err == nil && len(blocks) > 0 {
		return []string{"bytes=" + strconv.FormatUint(size*uint64(len(blocks)), 10)}
	}
	return memoryTotal(r.file("proc/meminfo"))
}

func (r reader) dmi(names ...string) []string {
	var facts []string
	for _, name := range names {
		facts = append(facts, r.line(filepath.Join("sys/class/dmi/id", name)))
	}
	return facts
}

// system is what the firmware or, on boards without one, the device tree says.
func (r reader) system() []string {
	facts := r.dmi("sys_vendor", "product_name", "product_version", "product_serial", "product_uuid",
		"board_vendor", "board_name", "board_serial", "chassis_vendor", "chassis_serial")
	return append(facts, text([]byte(r.file("proc/device-tree/model"))), text([]byte(r.file("proc/device-tree/serial-number"))))
}

// disks are those with a device behind them, by what they are and not by their
// names, which can change from one boot to the next.
func (r reader) disks() []string {
	all, _ := filepath.Glob(filepath.Join(string(r), "sys/block/*"))
	var facts []string
	for _, dir := range all {
		if _, err := os.Stat(filepath.Join(dir, "device")); err != nil {
			continue // loop, ram, device mapper and their like
		}
		at := filepath.Join("sys/block", filepath.Base(dir))
		if r.line(filepath.Join(at, "removable")) == "1" {
			continue
		}
		facts = append(facts, strings.Join([]string{
			r.line(filepath.Join(at, "size")), r.line(filepath.Join(at, "device/vendor")), r.line(filepath.Join(at, "device/model")),
			r.line(filepath.Join(at, "device/serial")), r.line(filepath.Join(at, "serial")), r.line(filepath.Join(at, "wwid")),
		}, "|"))
	}
	slices.Sort(facts)
	return facts
}
