package fingerprint

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// machine plants files as the kernel would show them.
func machine(t *testing.T, change map[string]string) string {
	t.Helper()
	files := map[string]string{
		"etc/machine-id": "6f1d0c2b9a8e4775b3c4d5e6f7a80912\n",
		"proc/cpuinfo":   cpuinfo,
		"proc/meminfo":   "MemTotal: 8052984 kB\n",
		"sys/devices/system/memory/block_size_bytes": "8000000\n",
		"sys/devices/system/memory/memory0/state":    "online\n",
		"sys/class/dmi/id/bios_vendor":               "Example\n",
		"sys/class/dmi/id/product_uuid":              "11112222\n",
		"sys/block/sda/device/model":                 "Disk\n",
		"sys/block/sda/size":                         "1000\n",
		"sys/block/loop0/size":                       "5\n",
	}
	maps.Copy(files, change)
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestReadBelow(t *testing.T) {
	t.Parallel()
	base := readBelow(machine(t, nil))
	if base[MachineID] != "6f1d0c2b9a8e4775b3c4d5e6f7a80912\n" {
		t.Errorf("machine id %q", base[MachineID])
	}
	for _, c := range []struct{ file, text, property string }{
		{"etc/machine-id", "other\n", MachineID},
		{"proc/cpuinfo", "processor: 0\nmodel name: Other\n", Processor},
		{"sys/devices/system/memory/memory1/state", "online\n", Memory},
		{"sys/class/dmi/id/bios_version", "2\n", BIOS},
		{"sys/class/dmi/id/product_serial", "7\n", System},
		{"proc/device-tree/model", "Board\x00", System},
		{"sys/block/sda/size", "2000\n", Disk},
		{"sys/block/nvme0n1/device/serial", "vol-1\n", Disk},
		{"sys/block/loop1/size", "9\n", ""},
		{"proc/meminfo", "MemTotal: 1000 kB\n", ""}, // the kernel tells more exactly
	} {
		got := readBelow(machine(t, map[string]string{c.file: c.text}))
		for property := range base {
			if differs := got[property] != base[property]; differs != (property == c.property) {
				t.Errorf("%s changed: %s differs: %v", c.file, property, differs)
			}
		}
	}
}

func TestReadBelowNothing(t *testing.T) {
	t.Parallel()
	for property, value := range readBelow(t.TempDir()) {
		if value != "" {
			t.Errorf("%s is %q on a machine that tells nothing", property, value)
		}
	}
	dbus := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dbus, "var/lib/dbus"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dbus, "var/lib/dbus/machine-id"), []byte("d\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := readBelow(dbus)[MachineID]; got != "d\n" {
		t.Errorf("machine id of D-Bus: %q", got)
	}
}

func TestReadStock(t *testing.T) {
	t.Parallel()
	got := ReadStock(t.Context())
	for _, property := range []string{"processor-hash", "memory-hash", "bios-hash", "system-hash", "disk-info"} {
		if v, ok := got[property]; !ok || v != "" && len(v) != 24 {
			t.Errorf("%s is %q, %v", property, v, ok)
		}
	}
	if len(got) != 5 {
		t.Errorf("got %v", got)
	}
	if d := output(t.Context(), "/bin/true"); d != "1B2M2Y8AsgTpgAmY7PhCfg==" {
		t.Errorf("no output gave %q", d)
	}
	if d := output(t.Context(), "/bin/sh", "-c", "echo x; exit 1"); d != "" {
		t.Errorf("a failing tool gave %q", d)
	}
}
