package faults_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/stream/streamtest"
)

// users are those that things under test log in as, with the rows of the README's
// table of rights that are theirs.
var users = map[string][]string{
	"log":      {"a consumer in log mode", "its offsets, with `offset.NewRedis`", "dead letters of either"},
	"group":    {"a consumer in group mode", "with `RetryAfter`", "with `WithConsumerName`", "dead letters of either"},
	"producer": {"a producer"},
	"trimmer":  {"a trimmer", "with a hard limit"},
}

// inACluster is the row that each user needs there besides.
const inACluster = "each of these in a cluster"

// rights reads the README's table.
func rights(t testing.TB) map[string]string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(readme), "\n## Rights\n")
	if !found {
		t.Fatal("the README has no section on rights")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	rows := make(map[string]string)
	for _, row := range regexp.MustCompile("(?m)^\\| (.+?) \\| (.*?) ?\\| `(.+)` \\|$").FindAllStringSubmatch(table, -1) {
		text := strings.ReplaceAll(row[2]+" "+row[3], "`", "")
		rows[row[1]] = strings.ReplaceAll(text, `\|`, "|")
	}
	return rows
}

// withUsers returns the arguments of a server that knows the users, with their
// rights on a topic, and those in more rows for each. The default user has all.
func withUsers(t testing.TB, topic string, more ...string) (args []string) {
	t.Helper()
	rows := rights(t)
	for _, user := range slices.Sorted(maps.Keys(users)) {
		args = append(args, "--user", user, "on", ">"+password(user), "-@all")
		for _, row := range append(users[user][:len(users[user]):len(users[user])], more...) {
			text, found := rows[row]
			if !found {
				t.Fatalf("the README's table of rights has no row %q", row)
			}
			for word := range strings.FieldsSeq(text) {
				if !strings.HasPrefix(word, "+") {
					word = strings.Replace(word, "T", topic, 1)
				}
				args = append(args, word)
			}
		}
	}
	return args
}

// giveUsers has a server know them that writes its own configuration, as one does that
// sentinels rearrange: on the command line they would be there twice.
func giveUsers(t testing.TB, server *streamtest.Redis, topic string) {
	t.Helper()
	client := server.Client()
	for _, rules := range strings.Split(strings.Join(withUsers(t, topic), "\n"), "--user\n")[1:] {
		args := []any{"ACL", "SETUSER"}
		for rule := range strings.Lines(rules) {
			args = append(args, strings.TrimSpace(rule))
		}
		if err := client.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.ConfigRewrite(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}

// password returns a user's, which is a canary.
func password(user string) string { return canary + "-password-of-" + user }

// as returns a client with the options of another one that logs in as a user.
func as(t testing.TB, user string, opts redis.Options) *redis.Client {
	t.Helper()
	opts.Username, opts.Password = user, password(user)
	opts.Protocol, opts.DisableIdentity = 2, true
	client := redis.NewClient(&opts)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// refusals returns what a server has refused its users since it was started.
func refusals(t testing.TB, admin *redis.Client) (list []string) {
	t.Helper()
	refused, err := admin.ACLLog(t.Context(), 100).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range refused {
		// go-redis' greeting, which it does without.
		if entry.Object != "hello" {
			list = append(list, fmt.Sprintf("%s of %s, %d times: %s", entry.Object, entry.Username, entry.Count, entry.Reason))
		}
	}
	return list
}
