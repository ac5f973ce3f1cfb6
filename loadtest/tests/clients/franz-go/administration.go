package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func administration(ctx context.Context, name string) error {
	connection, err := client()
	if err != nil {
		return err
	}
	defer connection.Close()
	admin := kadm.NewClient(connection)
	steps := []func(context.Context, *kadm.Client, string) error{topics, describedGroups, refusals, deletion}
	for _, step := range steps {
		if err := step(ctx, admin, name); err != nil {
			return err
		}
	}
	return nil
}

func topics(ctx context.Context, admin *kadm.Client, name string) error {
	own, read, closed := "own-"+name, "read-"+name, "closed-"+name
	if _, err := admin.CreateTopic(ctx, 2, -1, nil, own); err != nil {
		return err
	}
	if err := eventually("the new topic in the list", has(ctx, admin, own, 2)); err != nil {
		return err
	}
	listed, err := admin.ListTopics(ctx)
	if err != nil {
		return err
	}
	seen := []bool{listed.Has(own), listed.Has(read), listed.Has(closed)}
	if err := equal("which of own-, read- and closed- are seen", []bool{true, true, false}, seen); err != nil {
		return err
	}
	updated, err := admin.UpdatePartitions(ctx, 4, own)
	if err := errors.Join(err, updated.Error()); err != nil {
		return err
	}
	if err := eventually("four partitions", has(ctx, admin, own, 4)); err != nil {
		return err
	}
	brokers, err := admin.ListBrokers(ctx)
	for _, broker := range brokers {
		fmt.Println("broker", broker.Host, broker.Port)
	}
	return err
}

func has(ctx context.Context, admin *kadm.Client, topic string, partitions int) func() (bool, error) {
	return func() (bool, error) {
		listed, err := admin.ListTopics(ctx)
		return listed.Has(topic) && len(listed[topic].Partitions) == partitions, err
	}
}

func describedGroups(ctx context.Context, admin *kadm.Client, name string) error {
	own, closed := "own-"+name, "closed-"+name
	listed, err := admin.ListGroups(ctx)
	if err != nil {
		return err
	}
	_, seesOwn := listed[own]
	_, seesClosed := listed[closed]
	if err := equal("whether own- and closed- are listed", []bool{true, false}, []bool{seesOwn, seesClosed}); err != nil {
		return err
	}
	described, err := admin.DescribeGroups(ctx, own)
	if err := errors.Join(err, described.Error()); err != nil {
		return err
	}
	if err := equal("the group's state", "Empty", described[own].State); err != nil {
		return err
	}
	described, err = admin.DescribeGroups(ctx, closed)
	err = errors.Join(err, described.Error())
	return refused("describing a group without right", kerr.GroupAuthorizationFailed, err)
}

func refusals(ctx context.Context, admin *kadm.Client, name string) error {
	read, closed := "read-"+name, "closed-"+name
	_, create := admin.CreateTopic(ctx, 1, -1, nil, closed+"-new")
	_, remove := admin.DeleteTopic(ctx, read)
	updated, update := admin.UpdatePartitions(ctx, 9, read)
	describe := describes(ctx, closed)
	for _, refusal := range []struct {
		what string
		err  error
	}{
		{"creating a topic without right", create},
		{"deleting a topic without right", remove},
		{"adding partitions without right", errors.Join(update, updated.Error())},
		{"describing a topic without right", describe},
	} {
		if err := refused(refusal.what, kerr.TopicAuthorizationFailed, refusal.err); err != nil {
			return err
		}
	}
	return nil
}

// describes asks with a client of its own: franz-go remembers a refusal, and gives it for listings of all topics, too.
func describes(ctx context.Context, topic string) error {
	connection, err := client()
	if err != nil {
		return err
	}
	defer connection.Close()
	listed, err := kadm.NewClient(connection).ListTopics(ctx, topic)
	return errors.Join(err, listed.Error())
}

func deletion(ctx context.Context, admin *kadm.Client, name string) error {
	own := "own-" + name
	if _, err := admin.DeleteTopic(ctx, own); err != nil {
		return err
	}
	return eventually("a list without the deleted topic", func() (bool, error) {
		listed, err := admin.ListTopics(ctx)
		return err == nil && !listed.Has(own), err
	})
}
