// Command millrace looks at topics and consumers on Redis streams, and repairs them:
//
//	go run -C stream/cmd/millrace . --help
//
// It is built on package [millrace/stream/admin]; each command's help has examples, exit codes
// and the rights of Redis that it takes.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/term"

	"millrace/stream/cmd/millrace/internal/app"
)

func main() {
	// A reader of the output that has enough of it, such as head, is no reason to be killed
	// in the middle of a change: the write fails, and the command ends.
	signal.Ignore(syscall.SIGPIPE)
	redis.SetLogger(silent{}) // each of its lines comes back as an error, which is told once
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second one kills
	a := app.App{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Env: os.Getenv, Now: time.Now, Version: version(),
		Terminal: app.Terminal{
			In: term.IsTerminal(int(os.Stdin.Fd())), Out: term.IsTerminal(int(os.Stdout.Fd())), Err: term.IsTerminal(int(os.Stderr.Fd())),
			Size: func() (columns, rows int, err error) { return term.GetSize(int(os.Stdout.Fd())) },
		},
	}
	os.Exit(a.Run(ctx, os.Args[1:]))
}

// version is that of the program, as its build information has it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
}

// silent is a logger of go-redis that says nothing.
type silent struct{}

// Printf does nothing.
func (silent) Printf(context.Context, string, ...any) {}
