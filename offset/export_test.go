package offset

import (
	"context"
	"os"
)

// The parser of File, for fuzzing without a disk.
var (
	ParseFile  = parseFile
	FormatFile = formatFile
)

// AcquireFile makes f look as if a Save were at work.
func AcquireFile(f *File) (release func(), err error) {
	return f.acquire(context.Background(), "label")
}

// OnSync has a function called in place of [os.File.Sync].
func OnSync(f *File, sync func(*os.File) error) { f.sync = sync }
