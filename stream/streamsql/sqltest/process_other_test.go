//go:build !linux

package sqltest_test

import (
	"os"
	"os/exec"
	"testing"
)

func dieWithParent(*exec.Cmd) {}

func quit(p *os.Process) error { return p.Kill() }

func asAnother(testing.TB, *exec.Cmd, string) {}
