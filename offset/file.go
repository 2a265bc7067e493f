package offset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"unicode/utf8"
)

// File is a [Store] in one file, a JSON object from label to offset, for a
// program that may not keep its offsets in Redis. It is made by [NewFile]. It is
// safe for concurrent use, also through several Files on one path, in one
// process. Two processes must not use one path at the same time: they would
// overwrite each other's labels.
//
// A process or machine that stops at any instant leaves the old or the new
// offsets, never a torn file. A Save that moves an offset waits for the disk
// twice.
//
// The file is made with mode 0600, for its owner only, and replaced as a whole by
// each Save, through a second file, path + ".tmp". The folder must be there, also
// for Load: a missing one is most often a volume that is not mounted, and no
// reason to start over. The path must not name a symbolic link: Save would
// replace the link, not the file. A file that is there but empty, or anything
// else than such an object with entry IDs, is [ErrCorrupt].
type File struct {
	path string        // absolute
	slot chan struct{} // full while a Load or Save is at work
	sync func(*os.File) error
}

// fileSlots holds the slot of each absolute path. Save reads, compares and replaces the whole
// file. Two Saves at once, of different labels even, would lose one of the two, so all Files on
// one path have one slot.
var fileSlots sync.Map

// NewFile returns a store in the file at path, which need not be there yet. A
// relative path is made absolute at once. A blank path is an
// error. NewFile does no I/O.
func NewFile(path string) (*File, error) {
	if strings.TrimSpace(path) == "" {
		return nil, errors.New("offset: NewFile needs a path: name the file that shall hold the offsets")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("offset: NewFile cannot make %q absolute: %w", path, err)
	}
	slot, _ := fileSlots.LoadOrStore(abs, make(chan struct{}, 1))
	return &File{path: abs, slot: slot.(chan struct{}), sync: (*os.File).Sync}, nil
}

// Load implements [Store]. A label that is not valid UTF-8 is an error, because
// JSON cannot hold it.
func (f *File) Load(ctx context.Context, label string) (id string, found bool, err error) {
	id, found, err = f.load(ctx, label)
	if err != nil {
		return "", false, fmt.Errorf("offset: load label %q from file %s: %w", label, f.path, err)
	}
	return id, found, nil
}

func (f *File) load(ctx context.Context, label string) (id string, found bool, err error) {
	// Load takes the slot as well: Windows does not replace a file that is open.
	release, err := f.acquire(ctx, label)
	if err != nil {
		return "", false, err
	}
	defer release()

	offsets, err := f.read()
	if err != nil {
		return "", false, err
	}
	stored, found := offsets[label]
	if !found {
		return "", false, nil
	}
	return stored.String(), true, nil
}

// Save implements [Store]. A label that is not valid UTF-8 is an error, because
// JSON cannot hold it.
func (f *File) Save(ctx context.Context, label, id string) error {
	before, err := f.set(ctx, label, id, false)
	if err != nil {
		return fmt.Errorf("offset: save label %q in file %s: %w", label, f.path, err)
	}
	Found(ctx, before)
	return nil
}

// Reset implements [Resetter]. A label that is not valid UTF-8 is an error, because
// JSON cannot hold it.
func (f *File) Reset(ctx context.Context, label, id string) error {
	if _, err := f.set(ctx, label, id, true); err != nil {
		return fmt.Errorf("offset: reset label %q in file %s: %w", label, f.path, err)
	}
	return nil
}

// set returns the offset that was stored before.
func (f *File) set(ctx context.Context, label, id string, back bool) (before string, err error) {
	next, err := parse(id)
	if err != nil {
		return "", err
	}
	release, err := f.acquire(ctx, label)
	if err != nil {
		return "", err
	}
	defer release()

	offsets, err := f.read()
	if err != nil {
		return "", err
	}
	stored, found := offsets[label]
	if found {
		before = stored.String()
	}
	if found && !back && next.Compare(stored) <= 0 {
		return before, nil
	}
	offsets[label] = next
	return before, f.replace(offsets)
}

// acquire waits for the slot, but not longer than ctx: the one who has it may
// hang in a disk or a network drive.
func (f *File) acquire(ctx context.Context, label string) (release func(), err error) {
	if f.slot == nil {
		return nil, errors.New("make the File with NewFile")
	}
	if !utf8.ValidString(label) {
		return nil, errors.New("the label is not valid UTF-8: choose another one")
	}
	// The select alone would go on at random when the slot is free as well.
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case f.slot <- struct{}{}:
		return func() { <-f.slot }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (f *File) read() (map[string]ID, error) {
	info, err := os.Lstat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(f.path)); err != nil {
			return nil, fmt.Errorf("make or mount its folder first: %w", err)
		}
		return map[string]ID{}, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("name a regular file, not a folder, link or device")
	}
	data, err := os.ReadFile(f.path)
	if err != nil {
		return nil, err
	}
	offsets, err := parseFile(data)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrCorrupt, err)
	}
	return offsets, nil
}

func (f *File) replace(offsets map[string]ID) error {
	data, err := formatFile(offsets)
	if err != nil {
		return err
	}
	tmp := f.path + ".tmp"
	if err := f.writeNew(tmp, data); err != nil {
		return err
	}
	if err := os.Rename(tmp, f.path); err != nil {
		return err
	}
	return f.syncFolder(filepath.Dir(f.path))
}

// writeNew returns once data is on the disk. Without the sync, a machine that
// stops after the rename may come back with a file that has a name and no bytes.
func (f *File) writeNew(path string, data []byte) error {
	// The file that a killed process left behind goes first: with O_EXCL the new file has the
	// mode given here, and is no link that an attacker laid out.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = f.sync(file)
	}
	return errors.Join(err, file.Close())
}

// syncFolder makes a rename in the folder last. Windows has no such call for a
// folder; its file systems write renames to their journal.
func (f *File) syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.sync(folder), folder.Close())
}
