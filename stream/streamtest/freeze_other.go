//go:build !unix

package streamtest

import "errors"

var errNoFreeze = errors.New("a process can be frozen only where there are SIGSTOP and SIGCONT")

func (p *process) freeze() error { return errNoFreeze }

func (p *process) thaw() error { return errNoFreeze }
