package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const partitions = 4

// A member that commits what it has read.
type member struct {
	*kgo.Client
	group, topic string
	assigned     atomic.Int32
}

func join(group, topic string) (*member, error) {
	m := &member{group: group, topic: topic}
	count := func(sign int) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			m.assigned.Add(int32(sign * len(changed[topic])))
		}
	}
	var err error
	m.Client, err = client(
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.HeartbeatInterval(500*time.Millisecond),
		kgo.OnPartitionsAssigned(count(1)),
		kgo.OnPartitionsRevoked(count(-1)),
		kgo.OnPartitionsLost(count(-1)),
	)
	return m, err
}

// leave ends the membership at once.
func (m *member) leave() {
	m.Client.CloseAllowingRebalance()
}

func (m *member) poll(ctx context.Context, values map[string]bool) error {
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	fetches := m.PollFetches(short)
	defer m.AllowRebalance()
	for _, failure := range fetches.Errors() {
		if !errors.Is(failure.Err, context.DeadlineExceeded) {
			return failure.Err
		}
	}
	fetches.EachRecord(func(record *kgo.Record) { values[string(record.Value)] = true })
	return m.CommitUncommittedOffsets(ctx)
}

func (m *member) committed(ctx context.Context) ([]int64, error) {
	offsets, err := kadm.NewClient(m.Client).FetchOffsets(ctx, m.group)
	if err != nil {
		return nil, err
	}
	committed := make([]int64, partitions)
	for partition := range committed {
		committed[partition] = -1
		if offset, ok := offsets.Lookup(m.topic, int32(partition)); ok {
			committed[partition] = offset.At
		}
	}
	return committed, nil
}

func produce(ctx context.Context, topic string, from, to int) error {
	producer, err := client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer producer.Close()
	var records []*kgo.Record
	for value := range valuesOf(from, to) {
		record := kgo.StringRecord(value)
		record.Topic, record.Partition = topic, int32(value[0]-'0')
		records = append(records, record)
	}
	return producer.ProduceSync(ctx, records...).FirstErr()
}

func valuesOf(from, to int) map[string]bool {
	values := map[string]bool{}
	for partition := range partitions {
		for number := from; number < to; number++ {
			values[fmt.Sprintf("%d-%d", partition, number)] = true
		}
	}
	return values
}

func groups(ctx context.Context, name string) error {
	topic, group := "own-"+name, "own-"+name
	if err := produce(ctx, topic, 0, 10); err != nil {
		return err
	}
	if err := share(ctx, group, topic); err != nil {
		return err
	}
	if err := produce(ctx, topic, 10, 11); err != nil {
		return err
	}
	if err := resume(ctx, group, topic); err != nil {
		return err
	}
	return errors.Join(refusedAs(ctx, "closed-"+name, topic), refusedAs(ctx, "read-"+name, topic))
}

func refusedAs(ctx context.Context, group, topic string) error {
	stranger, err := join(group, topic)
	if err != nil {
		return err
	}
	defer stranger.leave()
	err = eventually("an answer", func() (bool, error) {
		err := stranger.poll(ctx, map[string]bool{})
		return stranger.assigned.Load() > 0, err
	})
	return refused("the group "+group, kerr.GroupAuthorizationFailed, err)
}

func share(ctx context.Context, group, topic string) error {
	first, err := join(group, topic)
	if err != nil {
		return err
	}
	defer first.leave()
	second, err := join(group, topic)
	if err != nil {
		return err
	}
	defer second.leave()
	values := map[string]bool{}
	err = eventually("two members with two partitions each, all values read and committed", func() (bool, error) {
		if err := errors.Join(first.poll(ctx, values), second.poll(ctx, values)); err != nil {
			return false, err
		}
		if first.assigned.Load() != 2 || second.assigned.Load() != 2 {
			return false, nil
		}
		committed, err := first.committed(ctx)
		return equal("", []int64{10, 10, 10, 10}, committed) == nil, err
	})
	if err != nil {
		return err
	}
	if err := equal("values that the members read", valuesOf(0, 10), values); err != nil {
		return err
	}
	second.leave()
	return eventually("all four partitions for the one who stays", func() (bool, error) {
		err := first.poll(ctx, values)
		return first.assigned.Load() == partitions, err
	})
}

func resume(ctx context.Context, group, topic string) error {
	third, err := join(group, topic)
	if err != nil {
		return err
	}
	defer third.leave()
	values := map[string]bool{}
	err = eventually("what was written since", func() (bool, error) {
		err := third.poll(ctx, values)
		return len(values) >= partitions, err
	})
	if err != nil {
		return err
	}
	if err := equal("values that a new member reads", valuesOf(10, 11), values); err != nil {
		return err
	}
	committed, err := third.committed(ctx)
	if err != nil {
		return err
	}
	return equal("offsets that it committed", []int64{11, 11, 11, 11}, committed)
}
