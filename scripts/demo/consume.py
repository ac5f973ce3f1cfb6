#!/usr/bin/env python3
"""Reads a topic from its beginning to its end with librdkafka, and prints the values: `consume.py SETTINGS TOPIC`.

SETTINGS is a file in librdkafka's format, a property in each line. It waits for as long as the topic gives nothing.
"""

import sys

import confluent_kafka as kafka


def settings(path):
    with open(path, encoding="utf-8") as lines:
        return dict(line.rstrip("\n").split("=", 1) for line in lines)


def fail(error):
    sys.exit(f"consume.py: {error.str()}")


def on_error(error):
    """Of what librdkafka tries again for ever, a login that failed is the one that time does not mend."""
    if error.code() == kafka.KafkaError._AUTHENTICATION:
        fail(error)


def consume(path, topic):
    consumer = kafka.Consumer(settings(path) | {"enable.partition.eof": "true", "error_cb": on_error})
    consumer.subscribe([topic])
    ended = set()
    while not ended or len(ended) < len(consumer.assignment()):
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error() is None:
            print((message.value() or b"").decode(), flush=True)
        elif message.error().code() == kafka.KafkaError._PARTITION_EOF:
            ended.add(message.partition())
        else:
            fail(message.error())
    consumer.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        consume(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
