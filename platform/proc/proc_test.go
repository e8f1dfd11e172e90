package proc_test

import (
	"os"
	"testing"

	"ssmagent/platform/proc/proctest"
)

func TestMain(m *testing.M) {
	proctest.Main()
	os.Exit(m.Run())
}

func TestConformance(t *testing.T) { proctest.Run(t) }
