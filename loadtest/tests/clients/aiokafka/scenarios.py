"""What users of aiokafka do: see `../SCENARIOS.md`."""

import asyncio
import os
import sys
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.abc import AbstractTokenProvider
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

PARTITIONS = 4
PATIENCE_SECONDS = 60


class Token(AbstractTokenProvider):
    async def token(self):
        return os.environ["SASL_PASSWORD"]


def access():
    settings = {
        "bootstrap_servers": os.environ["BOOTSTRAP"],
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": os.environ.get("SASL_MECHANISM", "PLAIN"),
    }
    if settings["sasl_mechanism"] == "OAUTHBEARER":
        return settings | {"sasl_oauth_token_provider": Token()}
    return settings | {
        "sasl_plain_username": os.environ["SASL_USERNAME"],
        "sasl_plain_password": os.environ["SASL_PASSWORD"],
    }


def equal(what, expected, got):
    if expected != got:
        raise AssertionError(f"{what}: expected {expected!r}, got {got!r}")


async def eventually(what, step):
    """Repeats `step` until it says yes, within a minute."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not await step():
        if time.monotonic() > deadline:
            raise AssertionError(f"expected within {PATIENCE_SECONDS} s: {what}")
        await asyncio.sleep(0.02)


async def refused(what, expected, call):
    """`call` fails with this error of aiokafka's."""
    try:
        got = await call
    except expected:
        return
    except KafkaError as failure:
        raise AssertionError(f"{what}: expected {expected.__name__}, got {failure!r}") from failure
    raise AssertionError(f"{what}: expected {expected.__name__}, got {got!r}")


# Groups


class Member:
    """A member that commits what it has read."""

    def __init__(self, group, topic):
        self.topic = topic
        self.consumer = AIOKafkaConsumer(
            topic,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            heartbeat_interval_ms=500,
            **access(),
        )

    async def poll(self):
        batches = await self.consumer.getmany(timeout_ms=100)
        values = {record.value.decode() for batch in batches.values() for record in batch}
        # One whose partitions have just gone to another must not commit.
        if values and self.consumer.assignment() >= batches.keys():
            await self.consumer.commit()
        return values

    def assigned(self):
        return len(self.consumer.assignment())

    async def committed(self):
        partitions = [TopicPartition(self.topic, number) for number in range(PARTITIONS)]
        return [await self.consumer.committed(partition) for partition in partitions]


async def produce(topic, numbers):
    async with AIOKafkaProducer(**access()) as producer:
        for partition in range(PARTITIONS):
            for number in numbers:
                value = f"{partition}-{number}".encode()
                await producer.send_and_wait(topic, value, partition=partition)


def values_of(numbers):
    return {f"{partition}-{number}" for partition in range(PARTITIONS) for number in numbers}


async def groups(name):
    topic = group = f"own-{name}"
    await produce(topic, range(10))
    first, second = Member(group, topic), Member(group, topic)
    await asyncio.gather(first.consumer.start(), second.consumer.start())
    values = set()

    async def share():
        values.update(*await asyncio.gather(first.poll(), second.poll()))
        return (
            first.assigned() == second.assigned() == 2
            and await first.committed() == [10] * PARTITIONS
        )

    await eventually("two members with two partitions each, all values read and committed", share)
    equal("values that the members read", values_of(range(10)), values)
    await second.consumer.stop()

    async def take_over():
        await first.poll()
        return first.assigned() == PARTITIONS

    await eventually("all four partitions for the one who stays", take_over)
    await first.consumer.stop()

    await produce(topic, [10])
    third = Member(group, topic)
    await third.consumer.start()
    values = set()

    async def resume():
        values.update(await third.poll())
        return len(values) >= PARTITIONS

    await eventually("what was written since", resume)
    equal("values that a new member reads", values_of([10]), values)
    equal("offsets that it committed", [11] * PARTITIONS, await third.committed())
    await third.consumer.stop()

    for group in f"closed-{name}", f"read-{name}":
        stranger = Member(group, topic)
        await refused(f"the group {group}", GroupAuthorizationFailedError, join(stranger.consumer))
        await stranger.consumer.stop()


async def join(consumer):
    await consumer.start()
    return await asyncio.wait_for(consumer.getone(), PATIENCE_SECONDS)


# Transactions


async def read_all(topic, isolation):
    """The values from the beginning of partition 0 to its end, as of now."""
    partition = TopicPartition(topic, 0)
    values = []
    async with AIOKafkaConsumer(isolation_level=isolation, **access()) as consumer:
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]

        async def read():
            batches = await consumer.getmany(timeout_ms=200)
            values.extend(record.value.decode() for record in batches.get(partition, []))
            return await consumer.position(partition) >= end

        await eventually(f"the end of {topic}", read)
    return values


async def transactions(name):
    source, target = f"own-{name}-in", f"own-{name}-out"
    async with AIOKafkaProducer(transactional_id=f"own-{name}", **access()) as producer:
        for value in ["committed-0", "aborted-0", "committed-1"]:
            await producer.begin_transaction()
            await producer.send_and_wait(source, f"{value}-a".encode())
            await producer.send_and_wait(source, f"{value}-b".encode())
            if value.startswith("aborted"):
                await producer.abort_transaction()
            else:
                await producer.commit_transaction()

        committed = ["committed-0-a", "committed-0-b", "committed-1-a", "committed-1-b"]
        equal("what is read committed", committed, await read_all(source, "read_committed"))
        everything = committed[:2] + ["aborted-0-a", "aborted-0-b"] + committed[2:]
        equal("what is read uncommitted", everything, await read_all(source, "read_uncommitted"))

        await transform(name, source, target, producer)
        capitals = [value.upper() for value in committed]
        equal("what was transformed", capitals, await read_all(target, "read_committed"))

    for id in f"closed-{name}", f"read-{name}":
        stranger = AIOKafkaProducer(transactional_id=id, **access())
        await refused(
            f"the transactional id {id}", TransactionalIdAuthorizationFailed, stranger.start()
        )
        await stranger.stop()
    async with AIOKafkaProducer(transactional_id=f"own-{name}", **access()) as producer:
        await producer.begin_transaction()
        await refused(
            "a topic that may not be written",
            TopicAuthorizationFailedError,
            producer.send_and_wait(f"read-{name}", b"x"),
        )
        await producer.abort_transaction()


async def transform(name, source, target, producer):
    """Reads, transforms and writes in one transaction; the first is aborted, so that its records come again."""
    partition = TopicPartition(source, 0)
    transformed = 0
    aborts = True
    last = None
    async with AIOKafkaConsumer(
        source,
        group_id=f"own-{name}",
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        **access(),
    ) as consumer:

        async def turn():
            nonlocal transformed, aborts, last
            records = (await consumer.getmany(timeout_ms=200)).get(partition, [])
            if not records:
                return False
            await producer.begin_transaction()
            for record in records:
                await producer.send(target, record.value.upper())
                last = record.offset + 1
            await producer.send_offsets_to_transaction({partition: last}, f"own-{name}")
            if aborts:
                await producer.abort_transaction()
                offset = await consumer.committed(partition)
                equal("offset after the aborted transaction", None, offset)
                await consumer.seek_to_beginning(partition)
                aborts = False
            else:
                await producer.commit_transaction()
                transformed += len(records)
            return transformed >= 4

        await eventually("four records transformed", turn)

        async def is_committed():
            return await consumer.committed(partition) == last

        # The broker answers the end of a transaction before all of it is done.
        await eventually(f"offset {last}, which went with the transaction", is_committed)


# Administration


async def admin(name):
    own, read, closed = f"own-{name}", f"read-{name}", f"closed-{name}"
    client = AIOKafkaAdminClient(**access())
    await client.start()

    async def sees(topic):
        return topic in await client.list_topics()

    async def partitions(topic):
        return len((await client.describe_topics([topic]))[0]["partitions"])

    async def has(topic, count):
        return await partitions(topic) == count

    equal("creating a topic", [0], codes(await client.create_topics([NewTopic(own, 2, 1)])))
    await eventually("the new topic in the list", lambda: sees(own))
    seen = {own, read, closed} & set(await client.list_topics())
    equal("topics that are seen", {own, read}, seen)
    await eventually("two partitions", lambda: has(own, 2))
    await client.create_partitions({own: NewPartitions(4)})
    await eventually("four partitions", lambda: has(own, 4))
    for broker in (await client.describe_cluster())["brokers"]:
        print("broker", broker)

    listed = {group[0] for group in await client.list_consumer_groups()}
    equal("groups that are seen", {own}, {own, closed} & listed)
    equal("the group's state", (0, "Empty"), await state(client, own))
    await refused(
        "describing a group without right", GroupAuthorizationFailedError, state(client, closed)
    )
    await refused(
        "adding partitions without right",
        TopicAuthorizationFailedError,
        client.create_partitions({read: NewPartitions(9)}),
    )
    # These answer with the broker's codes, and raise nothing.
    denied = [TopicAuthorizationFailedError.errno]
    created = await client.create_topics([NewTopic(f"{closed}-new", 1, 1)])
    equal("creating a topic without right", denied, codes(created))
    deleted = await client.delete_topics([read])
    equal("deleting a topic without right", denied, codes(deleted))
    described = await client.describe_topics([closed])
    equal("describing a topic without right", denied, [described[0]["error_code"]])

    equal("deleting a topic", [0], codes(await client.delete_topics([own])))

    async def is_gone():
        return not await sees(own)

    await eventually("a list without the deleted topic", is_gone)
    await client.close()


def codes(answer):
    """The error code of each topic in an answer to what creates or deletes."""
    rows = answer.to_object()
    return [row["error_code"] for row in rows.get("topic_errors") or rows["topic_error_codes"]]


async def state(client, group):
    """A group's error code and state."""
    response = (await client.describe_consumer_groups([group]))[0]
    code, _, state, *_ = response.groups[0]
    return code, state


if __name__ == "__main__":
    scenario = {"groups": groups, "transactions": transactions, "admin": admin}[sys.argv[1]]
    asyncio.run(asyncio.wait_for(scenario(sys.argv[2]), 3 * PATIENCE_SECONDS))
    print("passed")
