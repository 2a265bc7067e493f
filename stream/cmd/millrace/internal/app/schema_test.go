package app_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/codec"
	"millrace/codec/schema"
)

type orderV1 struct {
	ID string `mapstructure:"id" validate:"required"`
}

type orderV2 struct {
	ID       string `mapstructure:"id" validate:"required,max=9"`
	Currency string `mapstructure:"currency" validate:"len=3"`
}

func writeSchema[T any](t *testing.T, path string, c codec.Codec[T]) []byte {
	t.Helper()
	d, err := schema.Of(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, d.JSON(), 0o600); err != nil {
		t.Fatal(err)
	}
	return d.JSON()
}

func TestSchema(t *testing.T) {
	t.Parallel()
	w := &world{t: t, env: map[string]string{}, now: time.Now, in: strings.NewReader("")}
	dir := t.TempDir()
	v1, v2 := filepath.Join(dir, "v1.json"), filepath.Join(dir, "v2.json")
	text := writeSchema(t, v1, codec.Struct[orderV1]())
	writeSchema(t, v2, codec.Struct[orderV2]())
	w.run("schema", "check", v1, v1).exits(t, 0, "No reader is broken.")
	w.run("schema", "check", v1, v2).exits(t, 3, "backward", "currency", "the reader requires it, and the writer may leave it out", "maxLength 9")
	w.run("schema", "check", "--mode", "forward", v1, v2).exits(t, 0, "No reader is broken.")
	w.run("schema", "check", "--mode", "full", v2, v1).exits(t, 3, "forward")
	w.run("schema", "check", v1, v2, "-o", "ndjson").exits(t, 3, `"direction":"backward"`)
	w.run("schema", "check", "--mode", "x", v1, v2).exits(t, 2, "give backward, forward or full")
	w.run("schema", "check", v1).exits(t, 2, "give NEW")
	w.run("schema", "check", v1, filepath.Join(dir, "none.json")).exits(t, 1, "none.json")
	w.run("schema", "check", "git:HEAD", v1).exits(t, 2, "give git:REVISION:PATH")
	w.run("schema", "check", "git:--output=x:y", v1).exits(t, 2, "give git:REVISION:PATH")
	w.run("schema", "show", v1).exits(t, 0, string(text))
	w.in = strings.NewReader("no JSON")
	w.run("schema", "show", "-").exits(t, 1, "the document is no JSON object")
	w.run("schema").exits(t, 2, "give one of check, show")
}

// A document is compared with the one of another commit.
func TestSchemaInGit(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	git := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatal(fmt.Errorf("git %q: %w\n%s", args, err, out))
		}
	}
	writeSchema(t, "orders.json", codec.Struct[orderV1]())
	git("init", "-q", ".")
	git("add", ".")
	git("commit", "-qm", "one")
	writeSchema(t, "orders.json", codec.Struct[orderV2]())
	w := &world{t: t, env: map[string]string{}, now: time.Now, in: strings.NewReader("")}
	w.run("schema", "check", "git:HEAD:orders.json", "orders.json").exits(t, 3, "currency")
	w.run("schema", "check", "git:HEAD:other.json", "orders.json").exits(t, 1, "git does not have it")
}
