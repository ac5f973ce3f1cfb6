package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func transactions(ctx context.Context, name string) error {
	source, target := "own-"+name+"-in", "own-"+name+"-out"
	if err := write(ctx, "own-"+name, source); err != nil {
		return err
	}
	committed := []string{"committed-0-a", "committed-0-b", "committed-1-a", "committed-1-b"}
	all := []string{"committed-0-a", "committed-0-b", "aborted-0-a", "aborted-0-b", "committed-1-a", "committed-1-b"}
	if err := readsAll(ctx, "what is read committed", source, kgo.ReadCommitted(), committed); err != nil {
		return err
	}
	if err := readsAll(ctx, "what is read uncommitted", source, kgo.ReadUncommitted(), all); err != nil {
		return err
	}
	if err := transform(ctx, "own-"+name, source, target); err != nil {
		return err
	}
	capitals := strings.Fields(strings.ToUpper(strings.Join(committed, " ")))
	if err := readsAll(ctx, "what was transformed", target, kgo.ReadCommitted(), capitals); err != nil {
		return err
	}
	for _, id := range []string{"closed-" + name, "read-" + name} {
		err := attempt(ctx, id, source)
		if err := refused("the transactional id "+id, kerr.TransactionalIDAuthorizationFailed, err); err != nil {
			return err
		}
	}
	err := attempt(ctx, "own-"+name, "read-"+name)
	return refused("a topic that may not be written", kerr.TopicAuthorizationFailed, err)
}

func write(ctx context.Context, id, topic string) error {
	producer, err := client(kgo.TransactionalID(id), kgo.DefaultProduceTopic(topic))
	if err != nil {
		return err
	}
	defer producer.Close()
	for _, value := range []string{"committed-0", "aborted-0", "committed-1"} {
		if err := producer.BeginTransaction(); err != nil {
			return err
		}
		results := producer.ProduceSync(ctx, kgo.StringRecord(value+"-a"), kgo.StringRecord(value+"-b"))
		if err := results.FirstErr(); err != nil {
			return err
		}
		end := kgo.TryCommit
		if strings.HasPrefix(value, "aborted") {
			end = kgo.TryAbort
		}
		if err := producer.EndTransaction(ctx, end); err != nil {
			return err
		}
	}
	return nil
}

// attempt writes one record in a transaction, and aborts it where it is refused.
func attempt(ctx context.Context, id, topic string) error {
	producer, err := client(kgo.TransactionalID(id), kgo.DefaultProduceTopic(topic))
	if err != nil {
		return err
	}
	defer producer.Close()
	if err := producer.BeginTransaction(); err != nil {
		return err
	}
	err = producer.ProduceSync(ctx, kgo.StringRecord("x")).FirstErr()
	end := kgo.TransactionEndTry(err == nil)
	if ended := producer.EndTransaction(ctx, end); err == nil {
		err = ended
	}
	return err
}

// readsAll reads from the beginning of partition 0 to its end, as of now.
func readsAll(ctx context.Context, what, topic string, isolation kgo.IsolationLevel, expected []string) error {
	start := map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}
	reader, err := client(
		kgo.ConsumePartitions(start),
		kgo.FetchIsolationLevel(isolation),
		kgo.KeepControlRecords(),
	)
	if err != nil {
		return err
	}
	defer reader.Close()
	ends, err := kadm.NewClient(reader).ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	end, _ := ends.Lookup(topic, 0)
	var values []string
	var position int64
	err = eventually("the end of "+topic, func() (bool, error) {
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		fetches := reader.PollFetches(short)
		fetches.EachRecord(func(record *kgo.Record) {
			position = record.Offset + 1
			if !record.Attrs.IsControl() {
				values = append(values, string(record.Value))
			}
		})
		err := fetches.Err()
		if errors.Is(err, context.DeadlineExceeded) {
			err = nil
		}
		return position >= end.Offset, err
	})
	if err != nil {
		return err
	}
	return equal(what, expected, values)
}

// transform reads, transforms and writes in one transaction; the first is aborted, so that its records come again.
func transform(ctx context.Context, name, source, target string) error {
	session, err := kgo.NewGroupTransactSession(append(access(),
		kgo.TransactionalID(name),
		kgo.ConsumerGroup(name),
		kgo.ConsumeTopics(source),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.RequireStableFetchOffsets(),
		kgo.DefaultProduceTopic(target),
	)...)
	if err != nil {
		return err
	}
	defer session.Close()
	admin := kadm.NewClient(session.Client())
	transformed, aborts, last := 0, true, int64(-1)
	err = eventually("four records transformed", func() (bool, error) {
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		fetches := session.PollFetches(short)
		if fetches.NumRecords() == 0 {
			return false, nil
		}
		if err := session.Begin(); err != nil {
			return false, err
		}
		fetches.EachRecord(func(record *kgo.Record) {
			session.Produce(ctx, kgo.SliceRecord(bytes.ToUpper(record.Value)), nil)
			last = record.Offset + 1
		})
		if err := session.Client().Flush(ctx); err != nil {
			return false, err
		}
		committed, err := session.End(ctx, kgo.TransactionEndTry(!aborts))
		if err != nil {
			return false, err
		}
		if err := equal("whether the transaction was committed", !aborts, committed); err != nil {
			return false, err
		}
		if aborts {
			aborts = false
			offsets, err := admin.FetchOffsets(ctx, name)
			if err != nil {
				return false, err
			}
			_, found := offsets.Lookup(source, 0)
			return false, equal("an offset after the aborted transaction", false, found)
		}
		transformed += fetches.NumRecords()
		return transformed >= 4, nil
	})
	if err != nil {
		return err
	}
	// The broker answers the end of a transaction before all of it is done.
	return eventually(fmt.Sprintf("offset %d, which went with the transaction", last), func() (bool, error) {
		offsets, err := admin.FetchOffsets(ctx, name)
		offset, _ := offsets.Lookup(source, 0)
		return offset.At == last, err
	})
}
