//go:build !linux

package sqltest_test

import (
	"os/exec"
	"testing"
)

func dieWithParent(*exec.Cmd) {}

func asAnother(testing.TB, *exec.Cmd, string) {}
