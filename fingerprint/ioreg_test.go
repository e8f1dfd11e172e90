package fingerprint

import (
	"slices"
	"testing"
)

const expert = `+-o J314sAP  <class IOPlatformExpertDevice, id 0x100000245, registered, matched, active, busy 0 (0 ms), retain 41>
    {
      "manufacturer" = <"Apple Inc.">
      "model" = <"MacBookPro18,3">
      "IOPlatformSerialNumber" = "SERIAL0001"
      "IOPlatformUUID" = "8A4F1B6E-0C7D-5A44-9B1E-0E6B2F3A4C5D"
      "clock-frequency" = <00366e01>
    }

`

const blocks = `+-o IONVMeBlockStorageDevice  <class IONVMeBlockStorageDevice, id 0x1000005a1, registered, matched, active, busy 0 (0 ms), retain 9>
    {
      "Protocol Characteristics" = {"Physical Interconnect"="Apple Fabric","Physical Interconnect Location"="Internal"}
      "Device Characteristics" = {"Serial Number"="  disk01 ","Medium Type"="Solid State","Product Name"="APPLE SSD AP0512","Vendor Name"="","Product Revision Level"="387.140."}
    }

+-o IOUSBMassStorage  <class IOUSBBlockStorageDevice, id 0x100000777, registered>
    {
      "Protocol Characteristics" = {"Physical Interconnect"="USB","Physical Interconnect Location"="External"}
      "Device Characteristics" = {"Serial Number"="stick"}
    }
`

func TestIORegistry(t *testing.T) {
	t.Parallel()
	got := platformFacts(parseIORegistry(expert))
	want := []string{"manufacturer=Apple Inc.", "model=MacBookPro18,3", "board-id=", "IOPlatformSerialNumber=SERIAL0001", "IOPlatformUUID=8A4F1B6E-0C7D-5A44-9B1E-0E6B2F3A4C5D"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := storageDevices(parseIORegistry(blocks)); !slices.Equal(got, []string{"|APPLE SSD AP0512|disk01"}) {
		t.Errorf("%q", got)
	}
	for _, nothing := range []string{"", "{\n\"a\" = 1\n}", "no object"} {
		if got := platformFacts(parseIORegistry(nothing)); len(got) > 0 {
			t.Errorf("%q: %q", nothing, got)
		}
	}
}

func TestIOMember(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{`{"N"="x, y"}`: "x, y", `{"M"=1,"N"=12}`: "12", `{"N"=7,"M"=1}`: "7", `{"N"="open`: "open", `{"N"=7`: "", `{"M"=1}`: "", "": ""} {
		if got := ioMember(value, "N"); got != want {
			t.Errorf("%s: %q", value, got)
		}
	}
}

func FuzzIORegistry(f *testing.F) {
	f.Add(expert)
	f.Add(blocks)
	f.Fuzz(func(t *testing.T, out string) {
		all := parseIORegistry(out)
		if len(all) > maxObjects || len(platformFacts(all)) != 5*len(all) || len(storageDevices(all)) > len(all) {
			t.Errorf("%d objects", len(all))
		}
	})
}
