package fingerprint

import (
	"bytes"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
)

// digestFacts is the value of a property of our own: the digest of its facts,
// one a line, or empty if there are none. Facts of like things whose order
// means nothing are sorted by the caller.
func digestFacts(facts []string) string {
	if !slices.ContainsFunc(facts, func(f string) bool { return strings.TrimSpace(f) != "" }) {
		return ""
	}
	return Digest([]byte(strings.Join(facts, "\n") + "\n"))
}

// processorFacts reads /proc/cpuinfo: what the processors are and how many,
// nothing that changes while they run.
func processorFacts(cpuinfo string) []string {
	lasting := []string{"vendor_id", "cpu family", "model", "model name", "stepping",
		"CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision"}
	count := 0
	var facts []string
	for line := range strings.Lines(cpuinfo) {
		key, value, ok := strings.Cut(line, ":")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok {
			continue
		}
		if key == "processor" {
			count++
		}
		if f := key + "=" + value; slices.Contains(lasting, key) && !slices.Contains(facts, f) {
			facts = append(facts, f)
		}
	}
	if count == 0 {
		return nil
	}
	slices.Sort(facts)
	return append(facts, "count="+strconv.Itoa(count))
}

// memoryTotal reads /proc/meminfo: the memory in half GiB, rounded up, since a
// new kernel keeps a little more or less of it to itself.
func memoryTotal(meminfo string) []string {
	for line := range strings.Lines(meminfo) {
		rest, ok := strings.CutPrefix(line, "MemTotal:")
		f := strings.Fields(rest)
		if !ok || len(f) == 0 {
			continue
		}
		kb, err := strconv.ParseUint(f[0], 10, 54)
		if err != nil || kb == 0 {
			return nil
		}
		const half = 512 << 10 // KiB
		return []string{"half-gib=" + strconv.FormatUint((kb+half-1)/half, 10)}
	}
	return nil
}

// network has the three facts that the stock agent takes from Go as well.
func network(facts map[string]string) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	faces, err := interfaces()
	if err != nil {
		return err
	}
	addNetwork(facts, host, faces)
	return nil
}

func addNetwork(facts map[string]string, host string, interfaces []face) {
	facts[Hostname] = host
	facts[IPAddress], facts[MAC] = "", ""
	for _, i := range interfaces {
		if facts[MAC] == "" && len(i.mac) > 0 {
			facts[MAC] = i.mac.String()
		}
		for _, ip := range i.ips {
			if facts[IPAddress] == "" && ip.To4() != nil && !ip.IsLoopback() {
				facts[IPAddress] = ip.String()
			}
		}
	}
}

// face is a network interface.
type face struct {
	mac net.HardwareAddr
	ips []net.IP
}

func interfaces() ([]face, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var out []face
	for _, i := range all {
		f := face{mac: i.HardwareAddr}
		addrs, err := i.Addrs()
		if err != nil {
			continue // went away meanwhile
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				f.ips = append(f.ips, n.IP)
			}
		}
		out = append(out, f)
	}
	return out, nil
}

// text cuts what a fixed-size field is padded with.
func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return strings.TrimSpace(strings.ToValidUTF8(string(b), "?"))
}
