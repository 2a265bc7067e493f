package faults_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/admin"
)

// operators are the roles of people who look at topics and repair them, and of the agents that
// obey them.
var operators = []role{
	{"admin", []string{"an admin that looks"}, lookAround},
	{"admin that pauses", []string{"an admin that looks", "and pauses or seeks"}, pauseAndSeek},
	{"redriver", []string{"a redrive"}, redriveOne},
	{"agent", []string{"an agent"}, obey},
}

// newAdmin makes an admin.
func (s *shift) newAdmin(client redis.UniversalClient) (*admin.Admin, error) {
	return admin.New(client, admin.WithLogger(new(journal).logger()))
}

// drain reads a sequence to its end, and returns how much was in it.
func drain[T any](all iter.Seq2[T, error]) (n int, err error) {
	for _, failed := range all {
		if failed != nil {
			return n, failed
		}
		n++
	}
	return n, nil
}

// lookAround asks an admin for everything.
func lookAround(s *shift) error {
	a, err := s.newAdmin(s.client)
	if err != nil {
		return err
	}
	if err := s.prepare(); err != nil {
		return err
	}
	return s.look(a)
}

func (s *shift) look(a *admin.Admin) error {
	reader := admin.Group(s.topic.Name, group)
	_, topics := drain(a.Topics(s.ctx, s.topic.Name, admin.WithScan(), admin.WithBytes()))
	_, overview := drain(a.Overview(s.ctx, s.topic.Name))
	_, one := a.Reader(s.ctx, reader)
	_, pending := drain(a.Pending(s.ctx, reader))
	_, entries := drain(a.Entries(s.ctx, s.topic.Name, admin.Last(2)))
	_, letters := drain(a.DeadLetters(s.ctx, s.topic.Name, admin.Where{OlderThan: time.Nanosecond}))
	_, causes := a.Causes(s.ctx, s.topic.Name, 10)
	tailing, cancel := context.WithTimeout(s.ctx, 50*time.Millisecond)
	defer cancel()
	_, tail := drain(a.Tail(tailing, s.topic.Name))
	return errors.Join(topics, overview, one, pending, entries, letters, causes, tail)
}

// prepare makes a group with a pending entry, and a process of which an agent told.
func (s *shift) prepare() error {
	s.add("is fine")
	s.add("dead")
	dead := []string{"number", "1", stream.DeadLetterOrigin, s.topic.Name, stream.DeadLetterID, "1-0", stream.DeadLetterGroup, group,
		stream.DeadLetterAttempts, "1", stream.DeadLetterCause, "no", stream.DeadLetterTime, "2026-11-28T10:00:00Z"}
	_, err := s.admin.Pipelined(s.ctx, func(p redis.Pipeliner) error {
		p.XGroupCreate(s.ctx, s.topic.Name, group, "0")
		p.XReadGroup(s.ctx, &redis.XReadGroupArgs{Group: group, Consumer: "one", Streams: []string{s.topic.Name, ">"}, Count: 1})
		p.XAdd(s.ctx, &redis.XAddArgs{Stream: stream.DeadLetterStream(s.topic.Name), Values: dead})
		p.HSet(s.ctx, admin.DefaultKeyspace+":processes", "p", time.Now().UnixMilli())
		return nil
	})
	return err
}

// pauseAndSeek gives an order to a group that has no agent, and sets it.
func pauseAndSeek(s *shift) error {
	if err := s.prepare(); err != nil {
		return err
	}
	a, err := s.newAdmin(s.client)
	if err != nil {
		return err
	}
	reader := admin.Group(s.topic.Name, group)
	if _, err := a.Pause(s.ctx, reader, time.Hour, "ada", "bad deploy"); err != nil {
		return err
	}
	if _, err := a.Resume(s.ctx, reader, "ada", "it is mended"); err != nil {
		return err
	}
	plan, err := a.Seek(s.ctx, reader, admin.Begin())
	if err == nil {
		_, err = plan.Do(s.ctx, admin.By("ada", "bad deploy"), admin.Unattended())
	}
	return errors.Join(err, s.look(a))
}

// redriveOne sends one letter back.
func redriveOne(s *shift) error {
	if err := s.prepare(); err != nil {
		return err
	}
	a, err := s.newAdmin(s.client)
	if err != nil {
		return err
	}
	plan, err := a.Redrive(s.ctx, s.topic.Name, admin.RedriveConfig{})
	if err != nil {
		return err
	}
	done, err := plan.Do(s.ctx, admin.By("ada", "the partner is back"))
	if err == nil && done.Moved != 1 {
		err = fmt.Errorf("%d letters were moved", done.Moved)
	}
	return err
}

// obey has an agent show two consumers of a group, pause them and have them seek.
func obey(s *shift) error {
	if err := s.prepare(); err != nil {
		return err
	}
	var r stream.Runner
	r.Logger = new(journal).logger()
	agent, err := admin.NewAgent(s.client, &r, admin.WithLogger(r.Logger))
	if err != nil {
		return err
	}
	for _, name := range []string{"a", "b"} {
		consumer, err := stream.NewGroupConsumer(s.admin, s.topic, group, handleAll, append(s.options(), stream.WithConsumerName(name))...)
		if err != nil {
			return err
		}
		r.Add(consumer)
	}
	r.Add(agent)
	ctx, stop := context.WithCancel(s.ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	a, err := s.newAdmin(s.admin)
	if err != nil {
		return err
	}
	reader := admin.Group(s.topic.Name, group)
	seen := s.await(func() bool {
		detail, err := a.Reader(s.ctx, reader)
		return err == nil && detail.Agents == 2
	})
	if seen {
		_, err = a.Pause(s.ctx, reader, time.Hour, "ada", "bad deploy")
		seen = s.await(func() bool {
			detail, err := a.Reader(s.ctx, reader)
			return err == nil && detail.Obeying == 2 && detail.Paused != nil
		})
	}
	if seen && err == nil {
		var plan *admin.Plan[admin.Sought]
		if plan, err = a.Seek(s.ctx, reader, admin.Begin()); err == nil {
			_, err = plan.Do(s.ctx, admin.By("ada", "bad deploy"), admin.Unattended()) // the dead one knows of nothing
		}
	}
	stop()
	failed := <-done
	if !seen || strings.Contains(fmt.Sprint(failed), "NOPERM") {
		return errors.Join(errUnfinished, err, failed)
	}
	return errors.Join(err, failed)
}
