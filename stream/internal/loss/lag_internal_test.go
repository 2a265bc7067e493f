package loss

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"
)

// streamOf is a stream with entries from first to last, of so many that were added.
func streamOf(first, last, added int64) *redis.XInfoStream {
	info := &redis.XInfoStream{Length: last - first + 1, EntriesAdded: added, LastGeneratedID: fmt.Sprint(added, "-0"), MaxDeletedEntryID: "0-0"}
	info.FirstEntry.ID, info.LastEntry.ID = fmt.Sprint(first, "-0"), fmt.Sprint(last, "-0")
	return info
}

// A number follows from the ends of the stream, or from one that did before and counters that
// have been wrong by the same ever since.
func TestCountBehind(t *testing.T) {
	t.Parallel()
	type look struct {
		info     *redis.XInfoStream
		position string
		guess    int64
		run      int64
		want     int64 // -1 is not known
	}
	deleted := streamOf(5, 40, 40)
	deleted.Length, deleted.MaxDeletedEntryID = 35, "35-0"
	for name, looks := range map[string][]look{
		"nothing is behind":                  {{streamOf(5, 30, 30), "30-0", 7, 1, 0}},
		"all is behind":                      {{streamOf(5, 30, 30), "4-0", 7, 1, 26}},
		"in the middle":                      {{streamOf(5, 30, 30), "20-0", 10, 1, -1}},
		"in the middle of a whole one":       {{streamOf(1, 30, 30), "20-0", 10, 0, 10}},
		"another stream":                     {{streamOf(1, 3, 3), "20-0", 10, 1, -1}},
		"no position":                        {{streamOf(1, 3, 3), "", 3, 1, -1}},
		"after it was known":                 {{streamOf(5, 30, 30), "30-0", 4, 1, 0}, {streamOf(5, 40, 40), "32-0", 12, 1, 8}},
		"after entries that were read went":  {{streamOf(5, 30, 30), "30-0", 4, 1, 0}, {streamOf(20, 40, 40), "32-0", 12, 1, 8}},
		"after some that were not read went": {{streamOf(5, 30, 30), "30-0", 4, 1, 0}, {streamOf(33, 40, 40), "34-0", 10, 1, -1}},
		"after some in between were deleted": {{streamOf(5, 30, 30), "30-0", 4, 1, 0}, {deleted, "32-0", 12, 1, -1}},
		"of another run":                     {{streamOf(5, 30, 30), "30-0", 4, 1, 0}, {streamOf(5, 40, 40), "32-0", 12, 2, -1}},
		"of a group whose counter is wrong":  {{streamOf(5, 30, 30), "30-0", 4, 0, 0}, {streamOf(5, 40, 40), "32-0", 12, 0, -1}},
		"of a group whose counter is right":  {{streamOf(5, 30, 30), "30-0", 0, 0, 0}, {streamOf(5, 40, 40), "32-0", 8, 0, 8}},
	} {
		var c LagCounter
		for i, look := range looks {
			n, known := c.countBehind(look.info, look.position, look.guess, look.run, true)
			if known != (look.want >= 0) || known && n != look.want {
				t.Errorf("%s: look %d counts %d, %v; want %d", name, i+1, n, known, look.want)
			}
		}
	}
}
