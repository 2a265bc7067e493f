package offset_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"millrace/offset"
)

// A Save returns when the disk has the offset: the new file is on the disk before it
// takes the place of the old one, and the folder afterwards. A disk that fails, fails the
// Save.
func TestFileIsOnTheDisk(t *testing.T) {
	t.Parallel()
	want := []string{"the file", "the folder, after the rename"}
	if runtime.GOOS == "windows" {
		want = want[:1]
	}
	for _, fails := range append([]string{""}, want...) {
		path := filepath.Join(t.TempDir(), "offsets.json")
		file := newFile(t, path)
		if err := file.Save(t.Context(), "label", "1-0"); err != nil {
			t.Fatal(err)
		}
		broken := errors.New("the disk is broken")
		var steps []string
		offset.OnSync(file, func(f *os.File) error {
			step := "the file"
			if info, err := f.Stat(); err != nil {
				t.Error(err)
			} else if info.IsDir() {
				step = "the folder"
			} else if text := readFile(t, f.Name()); !strings.Contains(text, "2-0") {
				t.Errorf("it is synced before it is written, as %q", text)
			}
			if strings.Contains(readFile(t, path), "2-0") {
				step += ", after the rename"
			}
			steps = append(steps, step)
			if step == fails {
				return broken
			}
			return nil
		})
		err := file.Save(t.Context(), "label", "2-0")
		if fails != "" && !errors.Is(err, broken) || fails == "" && err != nil {
			t.Errorf("where the sync of %q fails, Save = %v", fails, err)
		}
		if fails == "" && !slices.Equal(steps, want) {
			t.Errorf("the disk was waited for with %q, want %q", steps, want)
		}
		if fails == want[0] && strings.Contains(readFile(t, path), "2-0") {
			t.Error("a file that may not be on the disk has taken the place of the old one")
		}
	}
}
