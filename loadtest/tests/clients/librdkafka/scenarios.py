"""What users of librdkafka do, through confluent-kafka for Python: see `../SCENARIOS.md`."""

import os
import sys
import time

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupState,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

PARTITIONS = 4
PATIENCE_SECONDS = 60


def access():
    return {
        "bootstrap.servers": os.environ["BOOTSTRAP"],
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": os.environ["SASL_USERNAME"],
        "sasl.password": os.environ["SASL_PASSWORD"],
    }


def equal(what, expected, got):
    if expected != got:
        raise AssertionError(f"{what}: expected {expected!r}, got {got!r}")


def eventually(what, step):
    """Repeats `step` until it says yes, within a minute."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not step():
        if time.monotonic() > deadline:
            raise AssertionError(f"expected within {PATIENCE_SECONDS} s: {what}")


def refused(what, code, call):
    """`call` fails with this code of librdkafka's."""
    try:
        got = call()
    except KafkaException as failure:
        equal(what, KafkaError(code).name(), failure.args[0].name())
        return
    raise AssertionError(f"{what}: expected {KafkaError(code).name()}, got {got!r}")


# Groups


class Member:
    """A member that commits what it has read."""

    def __init__(self, group, topic):
        self.topic = topic
        self.consumer = Consumer(
            access()
            | {
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "heartbeat.interval.ms": 500,
            }
        )
        self.consumer.subscribe([topic])

    def poll(self):
        values = set()
        for message in self.consumer.consume(100, timeout=0.1):
            if message.error():
                raise KafkaException(message.error())
            values.add(message.value().decode())
        if values:
            self.consumer.commit(asynchronous=False)
        return values

    def assigned(self):
        return len(self.consumer.assignment())

    def committed(self):
        partitions = [TopicPartition(self.topic, number) for number in range(PARTITIONS)]
        return [partition.offset for partition in self.consumer.committed(partitions, timeout=30)]

    def close(self):
        self.consumer.close()


def produce(topic, numbers):
    producer = Producer(access())
    failures = []
    for partition in range(PARTITIONS):
        for number in numbers:
            producer.produce(
                topic,
                f"{partition}-{number}",
                partition=partition,
                on_delivery=lambda error, _: failures.append(error) if error else None,
            )
    equal("records left in the producer", 0, producer.flush(PATIENCE_SECONDS))
    equal("records that failed", [], failures)


def values_of(numbers):
    return {f"{partition}-{number}" for partition in range(PARTITIONS) for number in numbers}


def groups(name):
    topic = group = f"own-{name}"
    produce(topic, range(10))
    first, second = Member(group, topic), Member(group, topic)
    values = set()

    def share():
        values.update(first.poll(), second.poll())
        return (
            first.assigned() == second.assigned() == 2 and first.committed() == [10] * PARTITIONS
        )

    eventually("two members with two partitions each, all values read and committed", share)
    equal("values that the members read", values_of(range(10)), values)
    second.close()

    def take_over():
        first.poll()
        return first.assigned() == PARTITIONS

    eventually("all four partitions for the one who stays", take_over)
    first.close()

    produce(topic, [10])
    third = Member(group, topic)
    values = set()

    def resume():
        values.update(third.poll())
        return len(values) >= PARTITIONS

    eventually("what was written since", resume)
    equal("values that a new member reads", values_of([10]), values)
    equal("offsets that it committed", [11] * PARTITIONS, third.committed())
    third.close()

    for group in f"closed-{name}", f"read-{name}":
        stranger = Member(group, topic)
        refused(
            f"the group {group}",
            KafkaError.GROUP_AUTHORIZATION_FAILED,
            lambda: eventually("an answer", lambda: stranger.poll() or stranger.assigned()),
        )
        stranger.close()


# Transactions


def transactional(transactional_id):
    producer = Producer(access() | {"transactional.id": transactional_id})
    producer.init_transactions(30)
    return producer


def read_all(topic, isolation):
    """The values from the beginning of partition 0 to its end, as of now."""
    consumer = Consumer(
        access()
        | {
            "group.id": topic,
            "isolation.level": isolation,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    values = []

    def read():
        message = consumer.poll(0.2)
        if message is None:
            return False
        if message.error():
            equal(f"error before the end of {topic}", "_PARTITION_EOF", message.error().name())
            return True
        values.append(message.value().decode())
        return False

    eventually(f"the end of {topic}", read)
    consumer.close()
    return values


def transactions(name):
    source, target = f"own-{name}-in", f"own-{name}-out"
    producer = transactional(f"own-{name}")
    for value in ["committed-0", "aborted-0", "committed-1"]:
        producer.begin_transaction()
        producer.produce(source, f"{value}-a")
        producer.produce(source, f"{value}-b")
        if value.startswith("aborted"):
            producer.flush()
            producer.abort_transaction()
        else:
            producer.commit_transaction()

    committed = ["committed-0-a", "committed-0-b", "committed-1-a", "committed-1-b"]
    equal("what is read committed", committed, read_all(source, "read_committed"))
    everything = committed[:2] + ["aborted-0-a", "aborted-0-b"] + committed[2:]
    equal("what is read uncommitted", everything, read_all(source, "read_uncommitted"))

    transform(name, source, target, producer)
    capitals = [value.upper() for value in committed]
    equal("what was transformed", capitals, read_all(target, "read_committed"))

    for transactional_id in f"closed-{name}", f"read-{name}":
        refused(
            f"the transactional id {transactional_id}",
            KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            lambda: transactional(transactional_id),
        )
    # With what may be written before it: librdkafka cannot abort a transaction in which the broker has added nothing.
    producer.begin_transaction()
    producer.produce(target, "aborted")
    producer.flush()
    producer.produce(f"read-{name}", "x")
    refused(
        "a topic that may not be written",
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        lambda: producer.commit_transaction(PATIENCE_SECONDS),
    )
    producer.abort_transaction()


def transform(name, source, target, producer):
    """Reads, transforms and writes in one transaction; the first is aborted, so that its records come again."""
    consumer = Consumer(
        access()
        | {
            "group.id": f"own-{name}",
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([source])
    partition = TopicPartition(source, 0)
    transformed = 0
    aborts = True
    last = None

    def turn():
        nonlocal transformed, aborts, last
        messages = consumer.consume(10, timeout=0.2)
        if not messages:
            return False
        producer.begin_transaction()
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            producer.produce(target, message.value().upper())
        # Past the last record, and past what ended its transaction where that has come, too.
        positions = consumer.position(consumer.assignment())
        last = positions[0].offset
        producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata())
        if aborts:
            producer.abort_transaction()
            offset = consumer.committed([partition], timeout=30)[0].offset
            equal("offset after the aborted transaction", True, offset < 0)
            consumer.seek(TopicPartition(source, 0, OFFSET_BEGINNING))
            aborts = False
        else:
            producer.commit_transaction()
            transformed += len(messages)
        return transformed >= 4

    eventually("four records transformed", turn)
    offset = consumer.committed([partition], timeout=30)[0].offset
    equal("offset that went with the transaction", last, offset)
    consumer.close()


# Administration


def admin(name):
    own, read, closed = f"own-{name}", f"read-{name}", f"closed-{name}"
    client = AdminClient(access())

    def names():
        return client.list_topics(timeout=30).topics.keys()

    def partitions(topic):
        described = client.list_topics(topic, timeout=30).topics[topic]
        if described.error and described.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise KafkaException(described.error)
        return len(described.partitions)

    done(client.create_topics([NewTopic(own, 2)]))
    eventually("the new topic in the list", lambda: own in names())
    equal("topics that are seen", {own, read}, {own, read, closed} & names())
    eventually("two partitions", lambda: partitions(own) == 2)
    done(client.create_partitions([NewPartitions(own, 4)]))
    eventually("four partitions", lambda: partitions(own) == 4)
    for broker in client.list_topics(timeout=30).brokers.values():
        print("broker", broker)

    listed = {group.group_id for group in client.list_consumer_groups().result().valid}
    equal("groups that are seen", {own}, {own, closed} & listed)
    described = client.describe_consumer_groups([own])[own].result()
    equal("the group's state", ConsumerGroupState.EMPTY, described.state)

    refused(
        "describing a group without right",
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        lambda: client.describe_consumer_groups([closed])[closed].result(),
    )
    for what, call in {
        "creating a topic": lambda: client.create_topics([NewTopic(f"{closed}-new", 1)]),
        "deleting a topic": lambda: client.delete_topics([read]),
        "adding partitions": lambda: client.create_partitions([NewPartitions(read, 9)]),
    }.items():
        refused(
            f"{what} without right", KafkaError.TOPIC_AUTHORIZATION_FAILED, lambda: done(call())
        )
    refused(
        "describing a topic without right",
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        lambda: partitions(closed),
    )

    done(client.delete_topics([own]))
    eventually("a list without the deleted topic", lambda: own not in names())


def done(futures):
    for future in futures.values():
        future.result(timeout=PATIENCE_SECONDS)


if __name__ == "__main__":
    {"groups": groups, "transactions": transactions, "admin": admin}[sys.argv[1]](sys.argv[2])
    print("passed")
