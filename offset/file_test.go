package offset_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/offset"
	"millrace/offset/offsettest"
)

func newFile(t *testing.T, path string) *offset.File {
	t.Helper()
	store, err := offset.NewFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

type fileStore struct {
	*offset.File
	path string
}

func TestFile(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T, path string) offset.Store { return fileStore{newFile(t, path), path} }
	offsettest.Run(t, offsettest.Harness{
		New: func(t *testing.T) offset.Store { return open(t, filepath.Join(t.TempDir(), "offsets.json")) },
		Reopen: func(t *testing.T, store offset.Store) offset.Store {
			return open(t, store.(fileStore).path)
		},
		Corrupt: func(t *testing.T, store offset.Store, label string) {
			writeFile(t, store.(fileStore).path, fmt.Sprintf(`{%q: "no ID"}`, label))
		},
	})
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestFileIsReadableAndPrivate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "offsets.json")
	store := newFile(t, path)
	for label, id := range map[string]string{"orders": "5-5", "<a>": "6-6", "billing": "7-7"} {
		if err := store.Save(t.Context(), label, id); err != nil {
			t.Fatal(err)
		}
	}
	want := "{\n  \"<a>\": \"6-6\",\n  \"billing\": \"7-7\",\n  \"orders\": \"5-5\"\n}\n"
	if got := readFile(t, path); got != want {
		t.Errorf("file holds %s, want %s", got, want)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 && runtime.GOOS != "windows" { // which has no such modes
		t.Errorf("mode %v, want 0600", mode)
	}
	if _, err := os.Lstat(path + ".tmp"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the second file is still there: %v", err)
	}
}

func TestFileCorrupt(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"empty":          "",
		"blank":          " \n",
		"torn":           `{"label": "5-`,
		"null":           "null",
		"array":          `["label", "5-5"]`,
		"text":           `"5-5"`,
		"number":         `{"label": 5}`,
		"null value":     `{"label": null}`,
		"nested":         `{"label": {"id": "5-5"}}`,
		"no ID":          `{"label": "5-"}`,
		"other label":    `{"label": "5-5", "other": "0x5-5"}`,
		"label twice":    `{"label": "5-5", "label": "6-6"}`,
		"same by escape": `{"label": "5-5", "l\u0061bel": "6-6"}`,
		"trailing comma": `{"label": "5-5",}`,
		"trailing data":  `{"label": "5-5"} {}`,
		"trailing brace": `{"label": "5-5"}}`,
		"zeros":          "\x00\x00\x00\x00",
		"not UTF-8":      "{\"\xff\": \"5-5\"}",
		"byte order":     "\ufeff{}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "offsets.json")
			writeFile(t, path, content)
			store := newFile(t, path)
			_, _, errLoad := store.Load(t.Context(), "label")
			errSave := store.Save(t.Context(), "label", "9-9")
			for _, err := range []error{errLoad, errSave} {
				if !errors.Is(err, offset.ErrCorrupt) || !strings.Contains(err.Error(), path) || strings.Count(err.Error(), "offset: ") != 1 {
					t.Errorf("error %v, want ErrCorrupt with the path and one prefix", err)
				}
			}
			if got := readFile(t, path); got != content {
				t.Errorf("Save left %q, want %q as it was", got, content)
			}
		})
	}
}

func TestFileTakesWhatAHumanWrites(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "offsets.json")
	for _, content := range []string{"{}", "\r\n{\r\n\t\"other\" : \"1-1\"\r\n}\r\n\r\n"} {
		writeFile(t, path, content)
		store := newFile(t, path)
		if _, found, err := store.Load(t.Context(), "label"); found || err != nil {
			t.Errorf("Load of %q = %t, %v", content, found, err)
		}
		if err := store.Save(t.Context(), "label", "9-9"); err != nil {
			t.Errorf("Save over %q = %v", content, err)
		}
	}
	if got := readFile(t, path); got != "{\n  \"label\": \"9-9\",\n  \"other\": \"1-1\"\n}\n" {
		t.Errorf("file holds %s", got)
	}
}

// Some of these would otherwise look like an empty store, and start all streams
// over; through the link to a file, Save would part the link from the file.
func TestFileInTheWrongPlace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, link, dangling := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "dangling")
	writeFile(t, file, "{}")
	if err := errors.Join(os.Symlink(file, link), os.Symlink(filepath.Join(dir, "nowhere"), dangling)); err != nil {
		t.Skip(err)
	}
	for _, path := range []string{
		dir, link, dangling, filepath.Join(dir, "missing", "offsets.json"), filepath.Join(file, "offsets.json"),
	} {
		store := newFile(t, path)
		_, found, errLoad := store.Load(t.Context(), "label")
		errSave := store.Save(t.Context(), "label", "9-9")
		for _, err := range []error{errLoad, errSave} {
			if err == nil || errors.Is(err, offset.ErrCorrupt) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: %t, %v; want an error that names the path", path, found, err)
			}
		}
	}
}

func TestFileCleansUpAfterAKilledSave(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, other := filepath.Join(dir, "offsets.json"), filepath.Join(dir, "other")
	writeFile(t, other, "precious")
	store := newFile(t, path)

	if err := os.Symlink(other, path+".tmp"); err != nil {
		t.Skip(err)
	}
	for _, id := range []string{"1-1", "2-2"} {
		if err := store.Save(t.Context(), "label", id); err != nil {
			t.Fatal(err)
		}
		if id, found, err := store.Load(t.Context(), "label"); id != "1-1" && id != "2-2" || !found || err != nil {
			t.Fatalf("Load = %q, %t, %v", id, found, err)
		}
		writeFile(t, path+".tmp", `{"label": "torn`)
	}
	if got := readFile(t, other); got != "precious" {
		t.Errorf("Save wrote through a link: %q", got)
	}
}

func TestFileLabelThatJSONCannotHold(t *testing.T) {
	t.Parallel()
	store := newFile(t, filepath.Join(t.TempDir(), "offsets.json"))
	if err := store.Save(t.Context(), "\xff", "1-1"); err == nil {
		t.Error("Save took a label that is not UTF-8; \\xff and \\xfe would be one label")
	}
	if _, _, err := store.Load(t.Context(), "\xff"); err == nil {
		t.Error("Load took a label that is not UTF-8")
	}
}

// Two Files on one path, spelled in two ways, save to labels of their own: a
// Save that read before the other one wrote would lose the other label's offset.
func TestFilesOnOnePath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "offsets.json")
	var wg sync.WaitGroup
	const saves = 50
	for i, spelling := range []string{path, path, dir + "/./offsets.json", dir + "/../" + filepath.Base(dir) + "/offsets.json"} {
		store, own := newFile(t, spelling), fmt.Sprintf("label %d", i)
		wg.Go(func() {
			for n := range saves {
				id := fmt.Sprintf("1-%d", n)
				if err := errors.Join(store.Save(t.Context(), own, id), store.Save(t.Context(), "shared", id)); err != nil {
					t.Error(err)
					return
				}
				if got, _, err := store.Load(t.Context(), own); got != id || err != nil {
					t.Errorf("Load(%q) = %q, %v; want %q", own, got, err, id)
					return
				}
			}
		})
	}
	wg.Wait()
	if id, _, err := newFile(t, path).Load(t.Context(), "shared"); id != "1-49" || err != nil {
		t.Errorf("Load = %q, %v; want 1-49", id, err)
	}
}

func TestFileHonoursContext(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "offsets.json")
	store := newFile(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // each time: a select would take either of two ready cases
		if err := store.Save(ctx, "label", "1-1"); !errors.Is(err, context.Canceled) {
			t.Fatalf("Save = %v, want context.Canceled", err)
		}
		if _, _, err := store.Load(ctx, "label"); !errors.Is(err, context.Canceled) {
			t.Fatalf("Load = %v, want context.Canceled", err)
		}
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a cancelled Save made the file: %v", err)
	}
}

// The one at work may hang in its disk.
func TestFileWaitsNoLongerThanContext(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "offsets.json")
	synctest.Test(t, func(t *testing.T) {
		store := newFile(t, path)
		release, err := offset.AcquireFile(store)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := store.Save(ctx, "label", "1-1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Save = %v, want context.DeadlineExceeded", err)
		}
	})
}

func TestNewFile(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", " ", "\t\n"} {
		if store, err := offset.NewFile(path); err == nil || store != nil {
			t.Errorf("NewFile(%q) = %v, %v; want an error", path, store, err)
		}
	}
	var zero offset.File
	if err := zero.Save(t.Context(), "label", "1-1"); err == nil || !strings.Contains(err.Error(), "NewFile") {
		t.Errorf("Save on a zero File = %v, want to be told of NewFile", err)
	}
}
