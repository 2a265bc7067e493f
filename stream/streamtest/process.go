package streamtest

import (
	"os/exec"
	"runtime"
)

// process is a process of the operating system that belongs to a test.
type process struct {
	cmd    *exec.Cmd
	gone   chan struct{} // closed when the process has ended
	err    error         // the result of Wait, to be read when gone is closed
	frozen bool
}

// startProcess starts a process that does not outlive this one, on systems where dieWithParent
// works.
func startProcess(cmd *exec.Cmd) (*process, error) {
	dieWithParent(cmd)
	p := &process{cmd: cmd, gone: make(chan struct{})}
	started := make(chan error)
	go func() {
		defer close(p.gone)
		// For Linux, the parent of a process is the thread that started it, and a thread ends
		// with a goroutine that was locked to it. Any test with such a goroutine could end the
		// server of another test. This goroutine keeps its thread for as long as the process
		// lives. That costs nothing, as waiting for a process takes a thread anyway.
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

// kill ends the process as kill -9 does, be it frozen or not, and waits until it has ended.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // an error means that it has ended already
	<-p.gone
}
