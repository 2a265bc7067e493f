package app_test

import (
	"os"
	"strings"
	"testing"
	"time"
)

// commands are all commands, as the help lists them.
func commands(w *world) (all []string) {
	in := false
	for line := range strings.Lines(w.run("--help").out) {
		line = strings.TrimRight(line, "\n")
		if !strings.HasPrefix(line, " ") {
			in = strings.HasSuffix(line, ":") && line != "Global flags:"
			continue
		}
		if in {
			all = append(all, strings.Fields(line)[0])
		}
	}
	return append(all, "dead causes", "dead list", "dead show", "schema check", "schema show")
}

// TestHelps compares the help of each command, and sees that no part of it is missing.
func TestHelps(t *testing.T) {
	t.Parallel()
	w := &world{t: t, env: map[string]string{}, now: time.Now}
	golden(t, "help/millrace", w.run("--help").String())
	all := commands(w)
	if len(all) < 25 {
		t.Errorf("the help lists %d commands: %q", len(all), all)
	}
	for _, command := range all {
		got := w.run(append(strings.Fields(command), "--help")...)
		got.exits(t, 0, "\nUsage:\n", "\nExamples:\n", "\nGlobal flags:\n", "\nExit codes:\n  0 done, 1 error", "\nRights:\n")
		golden(t, "help/"+strings.ReplaceAll(command, " ", "-"), got.String())
		short, _, _ := strings.Cut(got.out, "\n")
		if !strings.HasSuffix(short, ".") || strings.Contains(short, "\t") {
			t.Errorf("the help of %s does not begin with a sentence: %q", command, short)
		}
		_, examples, _ := strings.Cut(got.out, "\nExamples:\n")
		examples, _, _ = strings.Cut(examples, "\n\n")
		if n := strings.Count(strings.TrimSpace(examples), "\n") + 1; n != 3 {
			t.Errorf("the help of %s has %d examples, want 3:\n%s", command, n, examples)
		}
		for line := range strings.Lines(got.out) {
			if len([]rune(strings.TrimRight(line, "\n"))) > 125 {
				t.Errorf("the help of %s has a line that is too long: %s", command, line)
			}
		}
	}
}

// TestExamples runs each example of the helps as far as it is parsed: none has a flag or an
// argument that its command does not have.
func TestExamples(t *testing.T) {
	t.Parallel()
	w := &world{t: t, env: map[string]string{"MILLRACE_URL": "redis://127.0.0.1:1"}, in: strings.NewReader(""), now: time.Now}
	for _, command := range commands(w) {
		_, examples, _ := strings.Cut(w.run(append(strings.Fields(command), "--help")...).out, "\nExamples:\n")
		examples, _, _ = strings.Cut(examples, "\n\n")
		for line := range strings.Lines(examples) {
			if args := exampleArgs(line); len(args) > 0 {
				if got := w.run(append(args, "--help")...); got.code != 0 {
					t.Errorf("the example of %s is refused: %s%s", command, line, got)
				}
			}
		}
	}
}

// exampleArgs splits an example as a shell does it, as far as one is needed.
// The pages for troubles in package admin, and the README, name commands that there are.
func TestCommandsInDocumentation(t *testing.T) {
	t.Parallel()
	w := &world{t: t, env: map[string]string{"MILLRACE_URL": "redis://127.0.0.1:1"}, in: strings.NewReader(""), now: time.Now}
	found := 0
	for file, begin := range map[string]string{"../../../../admin/doc.go": "//\tmillrace ", "../../../../../README.md": "$ millrace "} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			rest, is := strings.CutPrefix(line, begin)
			if !is {
				continue
			}
			found++
			rest, _, _ = strings.Cut(rest, " # ")
			if got := w.run(append(exampleArgs("millrace "+rest), "--help")...); got.code != 0 {
				t.Errorf("%s names a command that is refused: %s%s", file, line, got)
			}
		}
	}
	if found < 20 {
		t.Errorf("%d commands were found", found)
	}
}

func exampleArgs(line string) (args []string) {
	_, line, found := strings.Cut(line, "millrace ")
	if !found {
		return nil
	}
	line, _, _ = strings.Cut(line, " | ")
	line, _, _ = strings.Cut(line, " > ")
	line, _, _ = strings.Cut(line, " < ")
	for i, part := range strings.Split(strings.TrimRight(line, ")\n"), "'") {
		if i%2 == 1 {
			args = append(args, part)
		} else {
			args = append(args, strings.Fields(part)...)
		}
	}
	return args
}
