//go:build unix

package streamtest

import (
	"os"
	"syscall"
)

// freeze halts the process. Its connections stay open, and the kernel goes on taking new ones
// for the process.
func (p *process) freeze() error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	p.frozen = true
	return nil
}

// thaw lets a frozen process go on.
func (p *process) thaw() error {
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	p.frozen = false
	return nil
}

// killed reports whether a process was ended by SIGKILL.
func killed(state *os.ProcessState) bool {
	status, ok := state.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}
