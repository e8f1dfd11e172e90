package proxy

// sources: the environment says all there is.
func sources() []source { return nil }
