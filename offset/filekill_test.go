package offset_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"millrace/offset"
)

// saverEnv names the file in which a child process of the tests saves.
const saverEnv = "OFFSET_TEST_SAVER"

// runSaver goes on from the stored offset, saves one after the other, and prints
// each that is acknowledged, until it is killed. An error it prints and returns.
func runSaver(path string) {
	store, err := offset.NewFile(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	id, found, err := store.Load(context.Background(), "label")
	if err != nil {
		fmt.Println(err)
		return
	}
	next := offset.ID{Ms: 1}
	if found {
		next, _ = offset.Parse(id)
	}
	for {
		next.Seq++
		if err := store.Save(context.Background(), "label", next.String()); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(next)
	}
}

func TestFileSurvivesKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "offsets.json")
	// Other labels make the file long, so that more kills fall into a write.
	others := make(map[string]offset.ID)
	for i := range 300 {
		others[fmt.Sprintf("other %d", i)] = offset.ID{Ms: 1}
	}
	content, err := offset.FormatFile(others)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, string(content))

	for range 30 {
		acknowledged := saveUntilKilled(t, path)
		id, found, err := newFile(t, path).Load(t.Context(), "label")
		if err != nil || !found {
			t.Fatalf("after a kill, Load = %q, %t, %v", id, found, err)
		}
		if loaded, _ := offset.Parse(id); loaded.Compare(acknowledged) < 0 {
			t.Fatalf("after a kill, Load = %q, but %q was acknowledged", id, acknowledged)
		}
		if id, found, err := newFile(t, path).Load(t.Context(), "other 299"); id != "1-0" || !found || err != nil {
			t.Fatalf("after a kill, the offset of another label is %q, %t, %v", id, found, err)
		}
	}
}

// saveUntilKilled kills a saver at a random moment and returns the last offset
// that it acknowledged.
func saveUntilKilled(t *testing.T, path string) (acknowledged offset.ID) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), saverEnv+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var last time.Time
	for n := 0; lines.Scan(); n++ { // to the end: lines may be under way when it dies
		acknowledged, err = offset.Parse(lines.Text())
		if err != nil {
			t.Errorf("the saver says %q", lines.Text())
		}
		switch n {
		case 2:
			last = time.Now()
		case 3:
			// A kill at once would always hit the start of a save. The pause is
			// random, over the time that a save or two take.
			time.AfterFunc(rand.N(2*time.Since(last)+1), func() { _ = cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil || acknowledged == (offset.ID{}) {
		t.Errorf("the saver ended by itself: %v", err)
	}
	return acknowledged
}
