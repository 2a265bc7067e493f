package stream_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/doc"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// constructors are the calls that take options, without their end.
var constructors = map[string]string{
	"NewConsumer":           "stream.NewConsumer(client, topic, store, handle",
	"NewGroupConsumer":      `stream.NewGroupConsumer(client, topic, "billing", handle`,
	"NewBatchConsumer":      "stream.NewBatchConsumer(client, topic, store, handleBatch",
	"NewGroupBatchConsumer": `stream.NewGroupBatchConsumer(client, topic, "billing", handleBatch`,
	"NewProducer":           "stream.NewProducer(client, topic",
	"NewTrimmer":            `stream.NewTrimmer(client, "orders"`,
	"Publish":               "new(stream.Producer[event]).Publish(context.Background(), event{}",
}

var (
	ofConsumers = []string{"NewConsumer", "NewGroupConsumer", "NewBatchConsumer", "NewGroupBatchConsumer"}
	ofProducers = []string{"NewProducer"}
	ofTrimmers  = []string{"NewTrimmer"}
	ofCalls     = []string{"Publish"}
)

// options has each option with the constructors to which it can be given. Those that are
// for one mode alone are refused when the constructor runs.
var options = map[string][]string{
	"WithStart(stream.FromEnd())":                       ofConsumers,
	"WithUntil(stream.FromEnd())":                       ofConsumers,
	"WithBlock(time.Second)":                            ofConsumers,
	"WithReadCount(1)":                                  ofConsumers,
	"WithWindow(1)":                                     ofConsumers,
	"WithWindowBytes(1)":                                ofConsumers,
	"WithMaxEntryBytes(1)":                              ofConsumers,
	"WithMiddleware(nil)":                               ofConsumers,
	"WithConcurrency(1)":                                ofConsumers,
	`WithOrderKey(stream.Field("id"))`:                  ofConsumers,
	"WithBackoff(stream.Backoff{})":                     ofConsumers,
	"WithDrainTimeout(0)":                               ofConsumers,
	"WithBatch(1, 1)":                                   ofConsumers,
	"WithCheckpoint(1, 1)":                              ofConsumers,
	"WithEffects()":                                     ofConsumers,
	"WithObserver(nil)":                                 ofConsumers,
	`WithLabel("a")`:                                    ofConsumers,
	"WithLossPolicy(stream.StopOnLoss)":                 ofConsumers,
	`WithConsumerName("a")`:                             ofConsumers,
	"WithClaimIdle(1)":                                  ofConsumers,
	"WithMaxDeliveries(1)":                              ofConsumers,
	"WithDiscard()":                                     ofConsumers,
	"WithLogger(nil)":                                   slices.Concat(ofConsumers, ofTrimmers),
	"WithMaxLen(1)":                                     ofProducers,
	"WithExactMaxLen(1)":                                ofProducers,
	"WithMinIDAge(1)":                                   ofProducers,
	"WithPublishMiddleware(nil)":                        ofProducers,
	"WithIdempotencyWindow(1)":                          ofProducers,
	`WithHeader("a", "b")`:                              ofCalls,
	`WithOffsets(store, "a")`:                           ofTrimmers,
	"WithHardMaxLen(1)":                                 ofTrimmers,
	"WithHardMaxAge(1)":                                 ofTrimmers,
	"WithTrimInterval(1)":                               ofTrimmers,
	"WithHeldWarning(1)":                                ofTrimmers,
	"WithTrimReport(func(result stream.TrimResult) {})": ofTrimmers,
}

func TestTheCompilerRefusesTheOptionsOfOthers(t *testing.T) {
	t.Parallel()
	compiler := newCompiler(t)
	for option, allowed := range options {
		for name, call := range constructors {
			err := compiler.check(fmt.Sprintf("_, _ = %s, stream.%s)", call, option))
			switch {
			case slices.Contains(allowed, name):
				if err != nil {
					t.Errorf("%s is refused by %s: %v", option, name, err)
				}
			case err == nil:
				t.Errorf("%s is accepted by %s", option, name)
			case !strings.Contains(err.Error(), "does not implement stream."):
				t.Errorf("%s is refused by %s for another reason: %v", option, name, err)
			}
		}
	}
}

func TestProgramsWithOptionsCompile(t *testing.T) {
	t.Parallel()
	compiler := newCompiler(t)
	every := func(end string) (statements string) {
		for _, name := range ofConsumers {
			statements += fmt.Sprintf("_, _ = %s%s)\n", constructors[name], end)
		}
		return statements
	}
	for name, program := range map[string]string{
		"no options": every("") + "_, _ = stream.NewProducer(client, topic); _, _ = stream.NewTrimmer(client, topic.Name)",
		"nil":        every(", nil") + "_, _ = stream.NewProducer(client, topic, nil); _, _ = stream.NewTrimmer(client, topic.Name, nil)",
		// What both modes have is often in one slice.
		"one slice": `usual := func(more ...stream.Option) []stream.Option {
			return append([]stream.Option{stream.WithLogger(nil), stream.WithClaimIdle(time.Second)}, more...)
		}
		` + every(", usual(stream.WithConcurrency(2))..."),
		"one of two": `var opt stream.Option = stream.WithLogger(nil)
		if topic.Name == "" {
			opt = stream.WithMiddleware()
		}
		` + every(", opt"),
		"functions": `for _, option := range []func(int) stream.Option{stream.WithWindow, stream.WithConcurrency} {
			_, _ = stream.NewConsumer(client, topic, store, handle, option(1))
		}`,
		"a producer's slice": `opts := []stream.ProducerOption{stream.WithMaxLen(5)}
		_, _ = stream.NewProducer(client, topic, append(opts, stream.WithIdempotencyWindow(time.Hour))...)`,
		"a trimmer's slice": `opts := []stream.TrimmerOption{stream.WithOffsets(store, "a"), stream.WithLogger(nil)}
		_, _ = stream.NewTrimmer(client, topic.Name, opts...)`,
	} {
		if err := compiler.check(program); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A new option has to find its place in the table above, and those of consumers in the
// documentation of Option.
func TestEveryOptionHasItsPlace(t *testing.T) {
	t.Parallel()
	listed := make(map[string]bool)
	for option := range options {
		name, _, _ := strings.Cut(option, "(")
		listed[name] = true
	}
	scope := newCompiler(t).stream.Scope()
	for _, name := range scope.Names() {
		if _, isFunc := scope.Lookup(name).(*types.Func); isFunc && strings.HasPrefix(name, "With") && !listed[name] {
			t.Errorf("%s is not in the table of this test", name)
		}
	}
	text := docOfOption(t)
	for option, allowed := range options {
		name, _, _ := strings.Cut(option, "(")
		want := 0
		if slices.Contains(allowed, "NewConsumer") {
			want = 1
		}
		if got := strings.Count(text, "["+name+"]"); got != want {
			t.Errorf("%s is %d times in the documentation of Option, want %d", name, got, want)
		}
	}
}

// docOfOption returns the comment of the type Option.
func docOfOption(t *testing.T) string {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "option_consumer.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := doc.NewFromFiles(fset, []*ast.File{file}, "millrace/stream")
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range parsed.Types {
		if one.Name == "Option" {
			return one.Doc
		}
	}
	t.Fatal("there is no type Option in option_consumer.go")
	return ""
}

// compiler checks the types of small programs.
type compiler struct {
	stream   *types.Package
	importer types.Importer
	fset     *token.FileSet
}

// newCompiler makes one that knows what the packages that a program imports export.
func newCompiler(t *testing.T) *compiler {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-json=ImportPath,Export", ".", "time")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	list, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	files := make(map[string]string)
	for decoder := json.NewDecoder(bytes.NewReader(list)); ; {
		var one struct{ ImportPath, Export string }
		if err := decoder.Decode(&one); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		files[one.ImportPath] = one.Export
	}
	c := &compiler{fset: token.NewFileSet()}
	c.importer = importer.ForCompiler(c.fset, "gc", func(path string) (io.ReadCloser, error) {
		if files[path] == "" {
			return nil, fmt.Errorf("%s is none of %v", path, slices.Sorted(maps.Keys(files)))
		}
		return os.Open(files[path])
	})
	if c.stream, err = c.importer.Import("millrace/stream"); err != nil {
		t.Fatal(err)
	}
	return c
}

// check returns the first error of a program with these statements.
func (c *compiler) check(statements string) error {
	file, err := parser.ParseFile(c.fset, "program.go", `package program

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
)

var _ time.Duration

type event struct{}

func handle(context.Context, *stream.Message[event]) error { return nil }

func handleBatch(context.Context, []*stream.Message[event]) error { return nil }

func _(client *redis.Client, topic stream.Topic[event], store offset.Store) {
	`+statements+`
}
`, 0)
	if err != nil {
		return err
	}
	_, err = (&types.Config{Importer: c.importer}).Check("program", c.fset, []*ast.File{file}, nil)
	return err
}
