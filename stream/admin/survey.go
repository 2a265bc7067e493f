package admin

import (
	"context"
	"iter"
	"slices"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
)

// surveyPage is how many topics are asked for in one pipeline.
const surveyPage = 100

// survey is a topic that is being found out.
type survey struct {
	Topic
	info   conn.Piped // without the fields of the first and the last entry, however large they are
	groups *redis.XInfoGroupsCmd
	bytes  *redis.IntCmd
	dead   []*redis.IntCmd
	keys   []string // of dead
	all    []*standing
	err    error
}

// surveyAll returns the topics with the given names, in their order.
func (a *Admin) surveyAll(ctx context.Context, s *snapshot, names []string, q topicQuery) iter.Seq2[Topic, error] {
	return func(yield func(Topic, error) bool) {
		for page := range slices.Chunk(names, surveyPage) {
			surveys, err := a.surveyPage(ctx, s, page, q)
			if err != nil {
				yield(Topic{}, explain("reading topics", err))
				return
			}
			for _, one := range surveys {
				if !yield(one.Topic, explain("reading "+one.Name, one.err)) {
					return
				}
			}
		}
	}
}

// surveyPage asks for a page of topics. The error is one of all of them.
func (a *Admin) surveyPage(ctx context.Context, s *snapshot, names []string, q topicQuery) ([]*survey, error) {
	byName := map[string]*survey{}
	surveys := make([]*survey, len(names))
	for i, name := range names {
		surveys[i] = &survey{Topic: Topic{Name: name, Bytes: -1, Registered: s.registered[name]}, keys: s.deadOf(name)}
		byName[name] = surveys[i]
	}
	nodes, err := a.nodes(ctx, names)
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		if err := n.askTopics(ctx, byName, q); err != nil {
			return nil, err
		}
	}
	// The keys of dead letters may be elsewhere.
	if err := send(ctx, a.client.Pipelined, func(p redis.Pipeliner) {
		for _, one := range surveys {
			for _, key := range one.keys {
				one.dead = append(one.dead, p.XLen(ctx, key))
			}
		}
	}); err != nil {
		return nil, err
	}
	for _, n := range nodes {
		for _, name := range n.names {
			byName[name].answered(ctx, n.client, a, s, q)
		}
	}
	if q.readers {
		if err := askReaders(ctx, s, nodes, byName); err != nil {
			return nil, err
		}
	}
	return surveys, nil
}

// askTopics asks a server for its topics: of each in one step where that is possible, since the
// counters of a stream and of its groups are compared.
func (n node) askTopics(ctx context.Context, byName map[string]*survey, q topicQuery) error {
	ask := func(p redis.Pipeliner) {
		for _, name := range n.names {
			one := byName[name]
			one.info = conn.PipedInfo(ctx, name)
			_ = p.Process(ctx, one.info) // only queues it
			if q.readers {
				one.groups = p.XInfoGroups(ctx, name)
			}
			if q.bytes {
				one.bytes = p.MemoryUsage(ctx, name, 5)
			}
		}
	}
	if n.alone {
		err := send(ctx, n.client.TxPipelined, ask)
		// A right that is missing for one topic is the end of the whole transaction.
		aborted := func(name string) bool {
			code := conn.Classify(byName[name].info.Err()).Code
			return code == "EXECABORT" || code == "NOPERM"
		}
		if err != nil || !slices.ContainsFunc(n.names, aborted) {
			return err
		}
	}
	return send(ctx, n.client.Pipelined, ask)
}

// send sends a pipeline. Errors of single commands, which are answers of the server, are left
// to those.
func send(ctx context.Context, pipelined func(context.Context, func(redis.Pipeliner) error) ([]redis.Cmder, error), ask func(redis.Pipeliner)) error {
	sent := 0
	_, err := pipelined(ctx, func(p redis.Pipeliner) error {
		ask(p)
		sent = p.Len()
		return nil
	})
	if sent == 0 || err == nil || !isServerGone(ctx, err) {
		return nil
	}
	return err
}

// answered takes the answers.
func (one *survey) answered(ctx context.Context, client redis.UniversalClient, a *Admin, s *snapshot, q topicQuery) {
	for i, length := range one.dead {
		if n, err := length.Result(); err != nil {
			one.err = explain("counting "+one.keys[i], err)
		} else if n > 0 {
			one.DeadLetters = append(one.DeadLetters, DeadLetterStream{one.keys[i], n})
		}
	}
	info := &redis.XInfoStream{}
	err := one.info.ReadInfo(info)
	if err != nil {
		info, err = infoOf(ctx, client, one.Name)
	}
	switch {
	case conn.Classify(err).Class == conn.Gone:
		one.Missing, info = true, &redis.XInfoStream{}
	case err != nil:
		one.err = err
		return
	}
	one.Length, one.First, one.Last, one.Added = info.Length, info.FirstEntry.ID, info.LastEntry.ID, info.EntriesAdded
	if info.EntriesAdded == 0 && info.LastGeneratedID != "" && info.LastGeneratedID != "0-0" {
		one.Added = -1
	}
	if one.bytes != nil && !one.Missing {
		if one.Bytes, err = one.bytes.Result(); err != nil {
			one.Bytes, one.err = -1, err
		}
	}
	if !q.readers {
		return
	}
	groups, err := one.groups.Result()
	if err != nil && !one.Missing {
		one.err = err
		return
	}
	one.all = a.standings(s, one.Name, info, groups)
}

// askReaders asks for the oldest entry of each reader, and takes the answers.
func askReaders(ctx context.Context, s *snapshot, nodes []node, byName map[string]*survey) error {
	for _, n := range nodes {
		err := send(ctx, n.client.Pipelined, func(p redis.Pipeliner) {
			for _, name := range n.names {
				for _, reader := range byName[name].all {
					reader.ask(ctx, p)
				}
			}
		})
		if err != nil {
			return err
		}
		for _, name := range n.names {
			one := byName[name]
			for _, reader := range one.all {
				if err := reader.answered(ctx, n.client, s.now); err != nil {
					one.err = err
				}
				one.Standings = append(one.Standings, reader.Standing)
			}
		}
	}
	return nil
}
