package fingerprint

import (
	"context"
	"os/exec"
	"strconv"

	"golang.org/x/sys/unix"
)

// read has no firmware's version: none that an update of the system leaves.
func read(ctx context.Context) (map[string]string, error) {
	return map[string]string{
		MachineID: "", BIOS: "",
		Processor: digestFacts([]string{sysctl("machdep.cpu.brand_string"), sysctlNumber("machdep.cpu.signature"), sysctlNumber("hw.physicalcpu_max"), sysctlNumber("hw.logicalcpu_max")}),
		Memory:    digestFacts([]string{sysctlNumber("hw.memsize")}),
		System:    digestFacts(append([]string{sysctl("hw.model")}, platformFacts(objects(ctx, "IOPlatformExpertDevice"))...)),
		Disk:      digestFacts(storageDevices(objects(ctx, "IOBlockStorageDevice"))),
	}, nil
}

func sysctl(name string) string {
	value, err := unix.Sysctl(name)
	if err != nil {
		return ""
	}
	return value
}

// sysctlNumber is one of 32 or 64 bits.
func sysctlNumber(name string) string {
	if n, err := unix.SysctlUint64(name); err == nil {
		return strconv.FormatUint(n, 10)
	}
	n, err := unix.SysctlUint32(name)
	if err != nil {
		return ""
	}
	return strconv.FormatUint(uint64(n), 10)
}

// objects asks ioreg for those of a class: the library that has them takes cgo.
func objects(ctx context.Context, class string) ioRegistry {
	out, err := exec.CommandContext(ctx, "/usr/sbin/ioreg", "-rd1", "-w0", "-c", class).Output()
	if err != nil {
		return nil
	}
	return parseIORegistry(string(out))
}
