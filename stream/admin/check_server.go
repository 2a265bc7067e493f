package admin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
)

// checkServers looks at the server, or at each master of a cluster.
func (a *Admin) checkServers(ctx context.Context) (findings []Finding, err error) {
	var mu sync.Mutex
	of := func(ctx context.Context, name string, node redis.Cmdable) error {
		text, err := node.Info(ctx, "all").Result()
		if conn.Classify(err).Withheld {
			mu.Lock()
			defer mu.Unlock()
			findings = append(findings, Finding{LevelWarn, name, "its settings and its disk were not looked at: the user may not send INFO", "grant +info"})
			return nil
		}
		if err != nil {
			return err
		}
		info := serverInfo(parseInfo(text))
		if err := info.addSync(ctx, node); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		findings = append(findings, info.findings(name)...)
		return nil
	}
	if cluster, is := a.client.(*redis.ClusterClient); is {
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			return of(ctx, node.Options().Addr, node)
		})
	} else {
		err = of(ctx, "the server", a.client)
	}
	slices.SortStableFunc(findings, func(a, b Finding) int { return cmp.Compare(a.About, b.About) })
	return findings, err
}

// serverInfo is the reply to INFO, and the setting appendfsync, which that has not.
type serverInfo map[string]string

func parseInfo(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), ":"); found {
			info[name] = value
		}
	}
	return info
}

// addSync asks how often the append-only file is synced, where there is one. Many managed services
// have no CONFIG: it stays unknown there.
func (s serverInfo) addSync(ctx context.Context, node redis.Cmdable) error {
	if s["aof_enabled"] != "1" {
		return nil
	}
	found, err := node.ConfigGet(ctx, "appendfsync").Result()
	if err != nil && !conn.Classify(err).Withheld {
		return err
	}
	s["appendfsync"] = found["appendfsync"]
	return nil
}

func (s serverInfo) number(name string) int64 {
	n, _ := strconv.ParseInt(s[name], 10, 64)
	return n
}

func (s serverInfo) findings(name string) (list []Finding) {
	for _, check := range []func(serverInfo) []Finding{serverInfo.eviction, serverInfo.memory, serverInfo.disk, serverInfo.sync} {
		list = append(list, check(s)...)
	}
	for i := range list {
		list[i].About = name
	}
	return list
}

func (s serverInfo) eviction() []Finding {
	policy, limited := s["maxmemory_policy"], s.number("maxmemory") > 0
	const remedy = "config set maxmemory-policy noeviction"
	switch {
	case policy == "":
		return nil // a managed service that does not tell
	case policy == "noeviction":
		return []Finding{{Level: LevelOK, Text: "maxmemory-policy is noeviction"}}
	case strings.HasPrefix(policy, "allkeys-") && limited:
		return []Finding{{Level: LevelFail, Text: fmt.Sprintf("maxmemory-policy is %s: streams and offsets can be evicted", policy), Remedy: remedy}}
	case strings.HasPrefix(policy, "allkeys-"):
		return []Finding{{Level: LevelWarn, Text: fmt.Sprintf("maxmemory-policy is %s: streams and offsets can be evicted as soon as maxmemory is set", policy), Remedy: remedy}}
	case limited:
		return []Finding{{Level: LevelWarn, Text: fmt.Sprintf("maxmemory-policy is %s: keys with an expiry can be evicted, such as those by which PublishOnce remembers", policy), Remedy: remedy}}
	default:
		return []Finding{{Level: LevelOK, Text: fmt.Sprintf("maxmemory-policy is %s, and there is no maxmemory", policy)}}
	}
}

func (s serverInfo) memory() []Finding {
	used, most := s.number("used_memory"), s.number("maxmemory")
	if most <= 0 {
		return nil
	}
	percent := used * 100 / most
	text := fmt.Sprintf("%d%% of maxmemory are used", percent)
	switch {
	case percent >= 95:
		return []Finding{{Level: LevelFail, Text: text + ": with all of it nothing can be added", Remedy: "raise maxmemory, or trim streams"}}
	case percent >= 80:
		return []Finding{{Level: LevelWarn, Text: text, Remedy: "raise maxmemory, or trim streams"}}
	default:
		return []Finding{{Level: LevelOK, Text: text}}
	}
}

func (s serverInfo) disk() (list []Finding) {
	appends := s["aof_enabled"] == "1"
	add := func(level Level, text, remedy string) {
		list = append(list, Finding{Level: level, Text: text, Remedy: remedy})
	}
	if s["loading"] == "1" {
		add(LevelFail, "the server is loading its data, and answers nothing yet", "wait until it has")
	}
	if appends && s["aof_last_write_status"] != "" && s["aof_last_write_status"] != "ok" {
		add(LevelFail, "the last write to the append-only file has failed: what is added now is lost by a crash, or refused", "look at the disk of the server, and at its log")
	}
	if appends && s["aof_last_bgrewrite_status"] != "" && s["aof_last_bgrewrite_status"] != "ok" {
		add(LevelWarn, "the last rewrite of the append-only file has failed: the file grows", "look at the disk of the server, then bgrewriteaof")
	}
	if s["rdb_last_bgsave_status"] == "err" {
		level := LevelFail // writes are refused then, by default
		if appends {
			level = LevelWarn
		}
		add(level, "the last snapshot has failed", "look at the disk of the server, then bgsave")
	}
	switch {
	case s["aof_enabled"] == "":
	case !appends:
		add(LevelWarn, "appendonly is no: a crash loses all that was added, read and acked since the last snapshot", "config set appendonly yes")
	case len(list) == 0:
		add(LevelOK, "appendonly is yes, and writing to disk works", "")
	}
	return list
}

// sync tells how much of the append-only file a crash can lose. The process alone can crash
// without that: the operating system still writes what it has.
func (s serverInfo) sync() []Finding {
	if s["aof_enabled"] != "1" {
		return nil
	}
	switch s["appendfsync"] {
	case "always":
		return []Finding{{Level: LevelOK, Text: "appendfsync is always: a crash loses nothing that the server has answered"}}
	case "everysec":
		return []Finding{{Level: LevelOK, Text: "appendfsync is everysec: a crash of the machine loses the last second of what was added, read and acked, two at most"}}
	case "no":
		return []Finding{{
			Level: LevelWarn, Text: "appendfsync is no: a crash of the machine loses what its operating system has not written yet, with Linux the last 30 seconds or so of what was added, read and acked",
			Remedy: "config set appendfsync everysec",
		}}
	default:
		return []Finding{{Level: LevelOK, Text: "how much a crash can lose is not known: appendfsync was not told, which takes the right +config|get"}}
	}
}
