package platform

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/windows/registry"
)

func TestRead(t *testing.T) {
	t.Parallel()
	i := Read()
	if i.Type != "Windows" || !strings.HasPrefix(i.Version, "10.0.") || strings.Count(i.Version, ".") != 2 || i.ComputerName == "" {
		t.Errorf("%+v", i)
	}
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, `SOFTWARE\Microsoft\Windows NT\CurrentVersion`, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	name, _, err := k.GetStringValue("ProductName")
	if err != nil || !strings.HasPrefix(i.Name, "Microsoft ") || strings.TrimPrefix(i.Name, "Microsoft ") != strings.TrimPrefix(name, "Microsoft ") {
		t.Errorf("%q of %q, %v", i.Name, name, err)
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	p := DefaultPaths()
	for name, path := range map[string]string{"Data": p.Data, "ConfigFile": p.ConfigFile, "Plugins": p.Plugins, "DefaultWorkDir": p.DefaultWorkDir, "Logs": p.Logs} {
		if !filepath.IsAbs(path) {
			t.Errorf("%s is %q", name, path)
		}
	}
	below := PathsBelow(`C:\root`)
	for name, path := range map[string]string{"Data": below.Data, "ConfigFile": below.ConfigFile, "Plugins": below.Plugins, "Packages": below.Packages} {
		if !strings.HasPrefix(path, `C:\root\`) {
			t.Errorf("%s is %q", name, path)
		}
	}
}
