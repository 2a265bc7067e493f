package streamtest

import (
	"os/exec"
	"runtime"
)

// process is a process of the operating system that belongs to a test.
type process struct {
	cmd    *exec.Cmd
	gone   chan struct{} // closed when it has ended
	err    error         // how it ended, to be read when gone is closed
	frozen bool
}

// startProcess starts a command that does not outlive this process, where the
// system can see to that.
func startProcess(cmd *exec.Cmd) (*process, error) {
	dieWithParent(cmd)
	p := &process{cmd: cmd, gone: make(chan struct{})}
	started := make(chan error)
	go func() {
		defer close(p.gone)
		// What Linux takes for the parent is the thread that started the
		// process, and a thread ends with a goroutine that was locked to it:
		// any test that does so could end a server of another. This goroutine
		// keeps its thread for as long as the process lives, which costs
		// nothing, as waiting for a process takes a thread anyway.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// kill ends the process as kill -9 does, be it frozen or not, and waits until
// it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // an error means that it has ended already
	<-p.gone
}
