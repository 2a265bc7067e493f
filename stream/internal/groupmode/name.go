package groupmode

import (
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"sync"

	"millrace/stream/internal/script"
)

// names knows which default names are in use in this process. It is the one
// thing here that belongs to the process: two consumers of one group in one
// process must not have one name, or each would take the other's entries for
// its own. And those of one Runner have one name where they can, because streams are
// read together only by one name.
var names = struct {
	sync.Mutex
	taken map[string]bool
}{taken: make(map[string]bool)}

// processNonce is random, and a part of all default names of the process: two
// containers can have one host name, and both the process ID 1.
var processNonce = sync.OnceValue(func() string { return strings.ToLower(rand.Text()[:nonceSize]) })

// nonceSize is the length of the nonce, of five bits each.
const nonceSize = 10

// takeName returns a default name for a consumer of the group, and the function that gives the
// name back. The host name and the process ID in it are for people.
func takeName(stream, group string) (name string, release func()) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown-host"
	}
	names.Lock()
	defer names.Unlock()
	for n := 1; ; n++ {
		name = fmt.Sprintf("%s%s:%d:%s", script.NamePrefix, host, os.Getpid(), processNonce())
		if n > 1 {
			name += fmt.Sprintf(":%d", n)
		}
		key := stream + "\x00" + group + "\x00" + name
		if names.taken[key] {
			continue
		}
		names.taken[key] = true
		return name, func() {
			names.Lock()
			defer names.Unlock()
			delete(names.taken, key)
		}
	}
}
