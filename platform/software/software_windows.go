package software

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

const (
	uninstallKeys = `SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall`
	maxPrograms   = 20_000
)

// view is one of the two halves that a 64-bit system's registry has.
type view struct {
	bits   int
	access uint32
}

func views() ([]view, error) {
	both := []view{{64, registry.WOW64_64KEY}, {32, registry.WOW64_32KEY}}
	if ^uintptr(0)>>32 != 0 {
		return both, nil
	}
	// A 32-bit program: on a 32-bit system there is one view only.
	var wow bool
	if err := windows.IsWow64Process(windows.CurrentProcess(), &wow); err != nil {
		return nil, fmt.Errorf("ask which kind of system this is: %w", err)
	}
	if !wow {
		return both[1:], nil
	}
	return both, nil
}

func list() ([]Program, error) {
	all, err := listBelow(uninstallKeys)
	if err != nil {
		return nil, fmt.Errorf("list the installed programs: %w", err)
	}
	return all, nil
}

// listBelow reads a key of HKEY_LOCAL_MACHINE in each view that has it.
func listBelow(path string) ([]Program, error) {
	which, err := views()
	if err != nil {
		return nil, err
	}
	var all []Program
	for _, v := range which {
		programs, err := v.programs(path)
		if err != nil {
			return nil, err
		}
		all = append(all, programs...)
	}
	slices.SortFunc(all, func(a, b Program) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return all, nil
}

func (v view) programs(path string) ([]Program, error) {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, path, registry.ENUMERATE_SUB_KEYS|v.access)
	if errors.Is(err, registry.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer k.Close()
	ids, err := k.ReadSubKeyNames(-1)
	if err != nil {
		return nil, err
	}
	if len(ids) > maxPrograms {
		return nil, fmt.Errorf("%s has more than %d entries", path, maxPrograms)
	}
	var all []Program
	for _, id := range ids {
		p, err := v.program(path, id)
		if errors.Is(err, registry.ErrNotExist) {
			continue // went away meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
		if p.Name != "" {
			all = append(all, p)
		}
	}
	return all, nil
}

// program reads one entry; an empty name says that it is none.
func (v view) program(path, id string) (Program, error) {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, path+`\`+id, registry.QUERY_VALUE|v.access)
	if err != nil {
		return Program{}, err
	}
	defer k.Close()
	return Program{
		ID: id, Bits: v.bits,
		Name: word(k, "DisplayName"), Version: word(k, "DisplayVersion"), Publisher: word(k, "Publisher"),
		URL: word(k, "URLInfoAbout"), InstallDate: word(k, "InstallDate"),
		ByInstaller: isSet(k, "WindowsInstaller"), Component: isSet(k, "SystemComponent"),
	}, nil
}

// word is a value's text; what is not there, or no text, is empty.
func word(k registry.Key, name string) string {
	s, _, err := k.GetStringValue(name)
	if err != nil {
		return ""
	}
	return s
}

func isSet(k registry.Key, name string) bool {
	n, _, err := k.GetIntegerValue(name)
	return err == nil && n == 1
}
