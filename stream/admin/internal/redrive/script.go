package redrive

import (
	_ "embed"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/script"
)

// The scripts work on letters that a plan has chosen, each given by its ID and the value of its
// last field: a letter that was deleted, or is another one now, is left out.
var (
	// scriptRedrive moves the letters in KEYS[1] to the stream in KEYS[2], as entries for the
	// reader whose address is in ARGV[2]: empty is the one that gave it up, and * stands for all.
	// A letter that was redriven as often as ARGV[1] says is kept. The answer has a text for each
	// letter: the ID of the entry, gone or kept. An XADD that is refused ends it: the answers
	// are those before, or the refusal itself if nothing was moved.
	scriptRedrive = conn.NewOnceScript(redriveSource)
	// scriptEdit moves one letter, in ARGV[1] and ARGV[2], with the fields in ARGV[3] and on.
	scriptEdit = conn.NewOnceScript(editSource)
	// scriptDrop deletes letters, and returns how many it has deleted.
	scriptDrop = conn.NewOnceScript(dropSource)
	// scriptLeft returns how many of the letters are there.
	scriptLeft = redis.NewScript(leftSource)

	//go:embed redrive.lua
	redriveSource string
	//go:embed edit.lua
	editSource string
	//go:embed drop.lua
	dropSource string
	//go:embed left.lua
	leftSource string
)

// publishOnce adds an entry, unless its key says that it was added, and returns the entry's ID.
var publishOnce = conn.NewOnceScript(script.PublishOnce)
