package program

import (
	"ssmagent/internal/vault"
	"ssmagent/platform"
	"ssmagent/platform/dpapi"
)

// openVault is the node's vault, whose values are read in either form.
func openVault(root string, p platform.Paths) *vault.Vault {
	v := vault.New(fileSystem(root), p.Data)
	v.SealBy(sealer(), false)
	return v
}

func sealer() vault.Sealer { return vault.Sealer{Seal: dpapi.Seal, Open: dpapi.Open} }
