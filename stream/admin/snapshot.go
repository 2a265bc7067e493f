package admin

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
)

// snapshot has the records of agents and stores about all readers, and the time of the server.
type snapshot struct {
	now        time.Time
	registered map[string]Registered // by stream
	controls   map[string]Control    // by controlField
	processes  []Presence
	offsets    map[string]string   // by label
	labels     map[string][]string // that are registered or present, by stream
	dead       map[string][]string // dead-letter streams of processes, by stream
	present    map[Reader][]member
	// broken are records that cannot be read.
	broken []error
}

// member is a consumer of a process.
type member struct {
	process *Presence
	*ConsumerPresence
}

// look loads a snapshot: two pipelines and the time.
func (a *Admin) look(ctx context.Context) (*snapshot, error) {
	keys := append([]string{a.keyspace.topics(), a.keyspace.control(), a.keyspace.processes()}, a.offsets...)
	hashes := make([]*redis.MapStringStringCmd, len(keys))
	err := send(ctx, a.client.Pipelined, func(p redis.Pipeliner) {
		for i, key := range keys {
			hashes[i] = p.HGetAll(ctx, key)
		}
	})
	for i := range hashes {
		if err == nil {
			err = explain("reading "+keys[i], hashes[i].Err())
		}
	}
	if err != nil {
		return nil, explain("reading the registry", err)
	}
	topics, controls, processes, stores := hashes[0].Val(), hashes[1].Val(), hashes[2].Val(), hashes[3:]
	s := &snapshot{
		registered: map[string]Registered{}, controls: map[string]Control{}, offsets: map[string]string{},
		labels: map[string][]string{}, dead: map[string][]string{}, present: map[Reader][]member{},
	}
	if s.now, err = a.client.Time(ctx).Result(); err != nil {
		return nil, explain("asking the server for its time", err)
	}
	for _, store := range slices.Backward(stores) { // the first one counts
		for label, id := range store.Val() {
			s.offsets[label] = id
		}
	}
	for name, text := range topics {
		record, err := decodeRecord[Registered](a.keyspace.topics(), name, text)
		s.breaks(err)
		s.registered[name] = record // it is a topic all the same
	}
	for field, text := range controls {
		record, err := decodeRecord[Control](a.keyspace.control(), field, text)
		s.breaks(err)
		s.controls[field] = record
	}
	if err := s.lookAtProcesses(ctx, a, processes); err != nil {
		return nil, err
	}
	s.collectLabels()
	return s, nil
}

// present returns the consumers that agents show, by their readers.
func (a *Admin) present(ctx context.Context) (map[Reader][]member, error) {
	processes, err := a.client.HGetAll(ctx, a.keyspace.processes()).Result()
	if err != nil {
		return nil, explain("reading the registry "+string(a.keyspace), err)
	}
	s := &snapshot{dead: map[string][]string{}, present: map[Reader][]member{}}
	err = s.lookAtProcesses(ctx, a, processes)
	return s.present, err
}

func (s *snapshot) breaks(err error) {
	if err != nil {
		s.broken = append(s.broken, err)
	}
}

func (s *snapshot) lookAtProcesses(ctx context.Context, a *Admin, ids map[string]string) error {
	if len(ids) == 0 {
		return nil
	}
	keys := make([]string, 0, len(ids))
	for id := range ids {
		keys = append(keys, a.keyspace.process(id))
	}
	slices.Sort(keys)
	records, err := a.client.MGet(ctx, keys...).Result()
	if err != nil {
		return explain("reading the records of the processes", err)
	}
	for i, record := range records {
		text, there := record.(string)
		if !there {
			continue // it has ended, or died
		}
		process, err := decodeRecord[Presence](keys[i], "", text)
		if err != nil {
			s.breaks(err)
			continue
		}
		s.processes = append(s.processes, process)
	}
	for i := range s.processes {
		process := &s.processes[i]
		for j := range process.Consumers {
			of := &process.Consumers[j]
			s.present[of.Reader()] = append(s.present[of.Reader()], member{process, of})
			s.dead[of.Stream] = append(s.dead[of.Stream], of.Dead)
		}
	}
	return nil
}

// collectLabels finds the labels of each stream.
func (s *snapshot) collectLabels() {
	add := func(stream, label string) {
		if label != "" && !slices.Contains(s.labels[stream], label) {
			s.labels[stream] = append(s.labels[stream], label)
		}
	}
	for name, record := range s.registered {
		for _, address := range record.Readers {
			if label, is := strings.CutPrefix(address, "label:"); is {
				add(name, label)
			}
		}
	}
	for reader := range s.present {
		add(reader.Stream, reader.Label)
	}
}

// labelsOf returns the labels of a stream, in order. The groups may have positions of labels
// among them, see [stream.Mirror].
func (s *snapshot) labelsOf(name string, groups []redis.XInfoGroup) []string {
	labels := slices.Clone(s.labels[name])
	if _, found := s.offsets[name]; found { // the default label
		labels = append(labels, name)
	}
	for _, group := range groups {
		if label, mirrored := mirroredLabel(group.Name); mirrored {
			labels = append(labels, label)
		}
	}
	slices.Sort(labels)
	return slices.Compact(labels)
}

// mirroredLabel returns the label whose offset a group shows.
func mirroredLabel(group string) (label string, mirrored bool) {
	return strings.CutPrefix(group, stream.PositionGroup(""))
}

// deadOf returns the keys of the dead-letter streams that a topic is known to have, or may
// have: the usual one comes first.
func (s *snapshot) deadOf(name string) []string {
	keys := []string{stream.DeadLetterStream(name)}
	for _, key := range append(s.registered[name].Dead, s.dead[name]...) {
		if key != "" && key != name && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}
