package users

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

// domainRole is DSROLE_PRIMARY_DOMAIN_INFO_BASIC.
type domainRole struct {
	role, flags       uint32
	flat, dns, forest *uint16
	guid              windows.GUID
}

// The roles of domain controllers.
const (
	roleBackupController  = 4
	rolePrimaryController = 5
)

// sign is one place that says whether this machine is a domain controller.
type sign struct {
	name string
	yes  bool
	err  error
}

func (s sign) String() string {
	switch {
	case s.err != nil:
		return fmt.Sprintf("%s does not tell (%v)", s.name, s.err)
	case s.yes:
		return s.name + " says that it is"
	}
	return s.name + " says that it is not"
}

// standing is what this machine is to its domain.
type standing struct {
	controller bool
	domain     string // its short name; empty where none was told
	// doubt is why controller may be wrong; empty: all signs say the same.
	doubt string
}

// standing asks all three places. One that says that this is a domain controller
// is enough, as is that nobody knows: an account made there would be one of the
// whole domain.
func (l *Local) standing(c *calls) standing {
	ds, domain := c.role()
	return judge([]sign{ds, l.sys.product(), l.sys.directory()}, domain)
}

func judge(signs []sign, domain string) standing {
	yes, no := 0, 0
	var all []string
	for _, s := range signs {
		switch {
		case s.yes:
			yes++
		case s.err == nil:
			no++
		}
		all = append(all, s.String())
	}
	st := standing{controller: yes > 0 || no == 0, domain: domain}
	if yes < len(signs) && no < len(signs) {
		st.doubt = strings.Join(all, ", ")
	}
	return st
}

// role asks the directory service's own interface, which also knows the domain.
func (c *calls) role() (s sign, domain string) {
	s.name = "DsRoleGetPrimaryDomainInformation"
	var r *domainRole
	code, _, _ := c.domainRole.Call(0, 1, uintptr(unsafe.Pointer(&r)))
	if s.err = answered("code", code); s.err != nil {
		return s, ""
	}
	if r == nil {
		s.err = errors.New("it answered with nothing")
		return s, ""
	}
	s.yes = r.role == roleBackupController || r.role == rolePrimaryController
	domain = windows.UTF16PtrToString(r.flat)
	_, _, _ = c.freeRole.Call(uintptr(unsafe.Pointer(r))) // it has no answer
	return s, domain
}

// product asks the registry which product is installed.
func (s system) product() sign {
	p := sign{name: "ProductType of the registry"}
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, s.productKey, registry.QUERY_VALUE)
	if err != nil {
		p.err = err
		return p
	}
	defer k.Close()
	kind, _, err := k.GetStringValue("ProductType")
	p.yes, p.err = strings.EqualFold(kind, "LanmanNT"), err
	return p
}

// directory asks whether the service of Active Directory runs, which stock
// agents go by.
func (s system) directory() sign {
	yes, err := runs(s.directoryService)
	return sign{name: "the service " + s.directoryService, yes: yes, err: err}
}

func runs(service string) (running bool, err error) {
	name, err := windows.UTF16PtrFromString(service)
	if err != nil {
		return false, err
	}
	m, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT)
	if err != nil {
		return false, fmt.Errorf("ask the service manager: %w", err)
	}
	defer func() { err = errors.Join(err, windows.CloseServiceHandle(m)) }()
	h, err := windows.OpenService(m, name, windows.SERVICE_QUERY_STATUS)
	if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open it: %w", err)
	}
	defer func() { err = errors.Join(err, windows.CloseServiceHandle(h)) }()
	var status windows.SERVICE_STATUS
	if err := windows.QueryServiceStatus(h, &status); err != nil {
		return false, fmt.Errorf("ask how it is: %w", err)
	}
	return status.CurrentState == windows.SERVICE_RUNNING, nil
}
