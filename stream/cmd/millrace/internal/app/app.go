// Package app is the command line millrace. An [App] is the program with the world that it runs
// in, so that a test can have a world of its own.
//
// The commands are methods of cli, one file for each or for a few that belong together. A command
// asks package admin, and gives the answer to output, which prints it as a table or as JSON. A
// command that changes something gets a plan, and consent prints it, asks, and has it done.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/cmd/millrace/internal/display"
)

// App is the command line. All fields but Hooks are needed. An App may run several times, one
// after the other.
type App struct {
	In       io.Reader
	Out, Err io.Writer
	// Env returns a variable of the environment, empty if it is not set.
	Env func(name string) string
	// Now returns the time. Times are shown in its location.
	Now func() time.Time
	// Terminal tells which of the three are terminals.
	Terminal Terminal
	// Version is that of the program.
	Version string
	// Hooks are added to each client.
	Hooks []redis.Hook
}

// Terminal tells which of the streams of a program are terminals.
type Terminal struct {
	In, Out, Err bool
	// Size returns the size of the terminal. It is called only if Out is one.
	Size func() (columns, rows int, err error)
}

// Run runs the program with the given arguments, those behind its name, and returns its exit
// code. It returns soon after ctx has ended.
func (a *App) Run(ctx context.Context, args []string) (code int) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := &cli{App: a, out: &pipe{to: a.Out, cancel: cancel}}
	root := c.root()
	root.SetArgs(args)
	root.SetIn(a.In)
	root.SetOut(c.out)
	root.SetErr(a.Err)
	command, err := root.ExecuteContextC(ctx)
	code = codeOf(ctx, err)
	var quiet *codeError
	if err == nil || errors.Is(err, errPipe) || errors.Is(context.Cause(ctx), errPipe) || errors.As(err, &quiet) && quiet.err == nil {
		return code
	}
	if code == exitInterrupted && !errors.As(err, &quiet) {
		_, _ = fmt.Fprintln(a.Err, "millrace: interrupted")
		return code
	}
	for line := range strings.Lines(err.Error()) {
		_, _ = fmt.Fprintln(a.Err, "millrace: "+display.Clean(strings.TrimSpace(strings.TrimPrefix(line, "admin: "))))
	}
	if code == exitUsage {
		_, _ = fmt.Fprintf(a.Err, "See %s --help.\n", command.CommandPath())
	}
	return code
}

// pipe is the standard output. When its reader has gone, the command ends.
type pipe struct {
	to     io.Writer
	cancel context.CancelCauseFunc
}

// errPipe is the error of a write to a pipe whose reader has gone.
var errPipe = errors.New("the output is closed")

func (p *pipe) Write(data []byte) (int, error) {
	n, err := p.to.Write(data)
	if isClosed(err) {
		err = errPipe
		p.cancel(err)
	}
	return n, err
}
