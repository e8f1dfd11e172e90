package proc_test

import (
	"testing"

	"ssmagent/platform/proc/proctest"
)

func TestTrees(t *testing.T) { proctest.RunTrees(t, false) }
