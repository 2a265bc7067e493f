//go:build !unix

package streamtest

import (
	"errors"
	"os"
)

var errNoFreeze = errors.New("a process can be frozen only where there are SIGSTOP and SIGCONT")

func (p *process) freeze() error { return errNoFreeze }

func (p *process) thaw() error { return errNoFreeze }

// killed reports whether a process may have been killed: without signals, a kill looks like a
// failure.
func killed(state *os.ProcessState) bool { return state.ExitCode() == 1 }
