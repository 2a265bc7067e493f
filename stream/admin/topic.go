package admin

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/admin/internal/glob"
)

// Topic is a stream with readers, at one moment.
type Topic struct {
	// Name is the key of the stream.
	Name string
	// Missing is set for a topic of the registry whose stream does not exist (any more).
	Missing bool
	// Length is how many entries the stream has, and First and Last the IDs of the first and
	// the last one; empty if there are none.
	Length      int64
	First, Last string
	// Added is how many entries were ever added; -1 before Redis 7, which does not tell.
	Added int64
	// Bytes is about how much memory the stream takes, with [WithBytes]; else -1.
	Bytes int64
	// DeadLetters are the dead-letter streams of the topic that exist.
	DeadLetters []DeadLetterStream
	// Registered is the record in the registry, zero if there is none.
	Registered Registered
	// Standings are its groups and labels, in this order and by name; only [Admin.Overview]
	// has them.
	Standings []Standing
}

// Dead returns how many dead letters the topic has in all its dead-letter streams.
func (t Topic) Dead() (n int64) {
	for _, dead := range t.DeadLetters {
		n += dead.Length
	}
	return n
}

// DeadLetterStream is a dead-letter stream of a topic.
type DeadLetterStream struct {
	Stream string
	Length int64
}

// TopicOption changes which topics are found, and what is found out about each.
type TopicOption func(*topicQuery)

type topicQuery struct{ scan, bytes, readers bool }

// WithScan looks for streams among all keys of the server too, and not only in the registry,
// which agents fill. Default: the registry alone. It takes the server about a millisecond for
// 1,500 keys, of whatever type.
func WithScan() TopicOption { return func(q *topicQuery) { q.scan = true } }

// WithBytes asks for the memory of each stream, by samples. Default: it is not asked for.
func WithBytes() TopicOption { return func(q *topicQuery) { q.bytes = true } }

// Topics returns the topics whose names are of a pattern, by name: those of the registry, and
// with [WithScan] all streams. The pattern is one of Redis: * is any text, ? any character,
// [ab] one of these; an empty one is all. Dead-letter streams, the audit and the keys of agents
// are no topics.
//
// An error that is about one topic, such as a key of another type or a right that is missing,
// comes with the Name of that, and the next topics follow; any other one comes without, and is
// the last. A pattern that matches no name gives nothing, and no error.
func (a *Admin) Topics(ctx context.Context, pattern string, opts ...TopicOption) iter.Seq2[Topic, error] {
	return a.topics(ctx, pattern, topicQuery{}, opts)
}

// Overview is [Admin.Topics] with the readers of each topic. It sends pipelines of about a
// hundred topics, and asks for at most two things of each reader.
func (a *Admin) Overview(ctx context.Context, pattern string, opts ...TopicOption) iter.Seq2[Topic, error] {
	return a.topics(ctx, pattern, topicQuery{readers: true}, opts)
}

// Topic returns one topic with its readers. The error wraps [ErrNoTopic] if there is no such
// stream, and the registry does not have it either.
func (a *Admin) Topic(ctx context.Context, name string) (Topic, error) {
	s, err := a.look(ctx)
	if err != nil {
		return Topic{}, err
	}
	return a.topic(ctx, s, name)
}

func (a *Admin) topic(ctx context.Context, s *snapshot, name string) (Topic, error) {
	for topic, err := range a.surveyAll(ctx, s, []string{name}, topicQuery{readers: true}) {
		if _, known := s.registered[name]; err == nil && topic.Missing && !known {
			err = explain("reading "+name, ErrNoTopic)
		}
		return topic, err
	}
	return Topic{}, explain("reading "+name, context.Cause(ctx))
}

// Readers returns the groups and labels of a stream. The error wraps [ErrNoTopic] if there is
// no such stream, and the registry does not have it either.
func (a *Admin) Readers(ctx context.Context, name string) ([]Standing, error) {
	topic, err := a.Topic(ctx, name)
	return topic.Standings, err
}

func (a *Admin) topics(ctx context.Context, pattern string, q topicQuery, opts []TopicOption) iter.Seq2[Topic, error] {
	for _, opt := range opts {
		if opt != nil {
			opt(&q)
		}
	}
	return func(yield func(Topic, error) bool) {
		s, err := a.look(ctx)
		var names []string
		if err == nil {
			names, err = a.names(ctx, s, pattern, q.scan)
		}
		if err != nil {
			yield(Topic{}, err)
			return
		}
		for topic, err := range a.surveyAll(ctx, s, names, q) {
			if !yield(topic, err) {
				return
			}
		}
	}
}

// names returns the names of topics of a pattern, in order.
func (a *Admin) names(ctx context.Context, s *snapshot, pattern string, scan bool) ([]string, error) {
	found := map[string]bool{}
	for name := range s.registered {
		if glob.Match(pattern, name) {
			found[name] = true
		}
	}
	if scan {
		streams, err := a.scan(ctx, pattern)
		if err != nil {
			return nil, explain("looking for streams", err)
		}
		a.sort(s, streams, pattern, found)
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// sort adds the streams that are topics. A dead-letter stream without its topic stands for it.
func (a *Admin) sort(s *snapshot, streams []string, pattern string, found map[string]bool) {
	dead := map[string]bool{}
	for name := range s.registered {
		for _, key := range s.deadOf(name) {
			dead[key] = true
		}
	}
	for _, name := range streams {
		dead[stream.DeadLetterStream(name)] = true
	}
	for _, name := range streams {
		switch {
		case dead[name], name == a.audit, strings.HasPrefix(name, string(a.keyspace)+":"):
		case glob.Match(pattern, topicOf(name)):
			found[topicOf(name)] = true
		}
	}
}

// topicOf returns the topic whose dead-letter stream has the name, or else the name itself.
func topicOf(name string) string {
	base, is := strings.CutSuffix(name, ":dead")
	if !is {
		return name
	}
	if inner := strings.TrimSuffix(strings.TrimPrefix(base, "{"), "}"); inner != "" && stream.DeadLetterStream(inner) == name {
		return inner
	}
	if base != "" && stream.DeadLetterStream(base) == name {
		return base
	}
	return name
}

// scanPage is about how many keys the server looks at in one step.
const scanPage = 1000

// scan returns the streams of a pattern, on a cluster those of every master.
func (a *Admin) scan(ctx context.Context, pattern string) (streams []string, err error) {
	if pattern == "" {
		pattern = "*"
	}
	var mu sync.Mutex
	of := func(ctx context.Context, node redis.Cmdable) error {
		for cursor := uint64(0); ; {
			keys, next, err := node.ScanType(ctx, cursor, pattern, scanPage, "stream").Result()
			if err != nil {
				return err
			}
			mu.Lock()
			streams = append(streams, keys...)
			mu.Unlock()
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	}
	if cluster, is := a.client.(*redis.ClusterClient); is {
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return of(ctx, node) })
	} else {
		err = of(ctx, a.client)
	}
	slices.Sort(streams)
	return slices.Compact(streams), err
}

// node is a server, and the streams that it has.
type node struct {
	client redis.UniversalClient
	names  []string
	// alone says that commands for different streams may be one transaction.
	alone bool
}

// nodes returns the masters that have some streams. The answer of a replica may be old.
func (a *Admin) nodes(ctx context.Context, names []string) ([]node, error) {
	cluster, is := a.client.(*redis.ClusterClient)
	if !is {
		return []node{{client: a.client, names: names, alone: true}}, nil
	}
	var all []node
	for _, name := range names {
		master, err := cluster.MasterForKey(ctx, name)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(all, func(n node) bool { return n.client == redis.UniversalClient(master) })
		if at < 0 {
			all, at = append(all, node{client: master}), len(all)
		}
		all[at].names = append(all[at].names, name)
	}
	return all, nil
}

// isServerGone reports whether there is no use in asking for the next topic.
func isServerGone(ctx context.Context, err error) bool {
	var answer redis.Error
	return ctx.Err() != nil || !errors.As(err, &answer)
}
