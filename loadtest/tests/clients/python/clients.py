"""librdkafka (confluent-kafka) behind the line protocol of `Clients.java`: one process serves all tests.

Each line on stdin is a request, each line on stdout its answer. Requests that name one handle run in their order on a
thread of that handle; handles run side by side. The process ends when stdin does.
"""

import base64
import json
import os
import queue
import struct
import sys
import threading
import time

import confluent_kafka as kafka
from confluent_kafka import admin as kafka_admin

from serdes import Serdes

RETRIABLE_POLL_SECONDS = 0.2


def settings(request, events):
    """A request's `config`, `login` and `ca` as properties of librdkafka; `events` collects what it reports."""
    properties = {}
    login = request.get("login") or {}
    mechanism = login.get("mechanism")
    if mechanism == "OAUTHBEARER":
        properties["sasl.mechanism"] = mechanism
        properties["oauth_cb"] = lambda _config: (login["token"], expiry(login["token"]))
    elif mechanism:
        properties["sasl.mechanism"] = mechanism
        properties["sasl.username"] = login["username"]
        properties["sasl.password"] = login["password"]
    if request.get("ca"):
        properties["ssl.ca.location"] = request["ca"]
    encryption = "SSL" if request.get("ca") else "PLAINTEXT"
    properties["security.protocol"] = ("SASL_" if mechanism else "") + encryption
    properties["error_cb"] = events.append
    properties["broker.address.family"] = "v4"
    properties.update(request.get("config") or {})
    return properties


def expiry(token):
    """The expiry in the token, or an hour from now where it has none or lies in the past (see TokenLogin.java)."""
    now = time.time()
    try:
        payload = token.split(".")[1]
        seconds = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"]
        return seconds if seconds > now else now + 3600
    except (ValueError, KeyError, IndexError, TypeError):
        return now + 3600


def data(text):
    return None if text is None else base64.b64decode(text)


def text(value):
    return None if value is None else base64.b64encode(value).decode()


def describe(error):
    """A KafkaError, or whatever else was thrown, as the protocol's error row."""
    if isinstance(error, kafka.KafkaException) and error.args and isinstance(error.args[0], kafka.KafkaError):
        error = error.args[0]
    if isinstance(error, kafka.KafkaError):
        return {
            "name": error.name(),
            "code": error.code(),
            "message": error.str(),
            "retriable": error.retriable(),
        }
    return {"name": type(error).__name__, "code": -1, "message": str(error), "retriable": False}


class Producers:
    """The operations of a `producer` handle."""

    def __init__(self, request):
        self.events = []
        self.producer = kafka.Producer(settings(request, self.events))

    def send(self, request):
        rows = [None] * len(request["records"])
        for index, record in enumerate(request["records"]):
            arguments = {
                "value": data(record.get("value")),
                "key": data(record.get("key")),
                "headers": [(name, data(value)) for name, value in record.get("headers") or []],
                "on_delivery": lambda error, message, index=index: rows.__setitem__(index, delivery(error, message)),
            }
            if record.get("partition") is not None:
                arguments["partition"] = record["partition"]
            if record.get("timestamp") is not None:
                arguments["timestamp"] = record["timestamp"]
            self.producer.produce(request["topic"], **arguments)
        self.producer.flush()
        return self.with_events({"records": rows})

    def generate(self, request):
        size = max(8, request["size"])
        errors = {}
        acknowledged = [0]

        def delivered(error, _message):
            if error is None:
                acknowledged[0] += 1
            else:
                errors[error.name()] = errors.get(error.name(), 0) + 1

        arguments = {"on_delivery": delivered}
        if request.get("partition") is not None:
            arguments["partition"] = request["partition"]
        for number in range(request["count"]):
            value = struct.pack(">q", number) + bytes(size - 8)
            while True:
                try:
                    self.producer.produce(request["topic"], value=value, **arguments)
                    break
                except BufferError:
                    self.producer.poll(0.1)
            self.producer.poll(0)
        self.producer.flush()
        return self.with_events({"acknowledged": acknowledged[0], "errors": errors})

    def init(self, _request):
        self.producer.init_transactions(30)
        return {}

    def begin(self, _request):
        self.producer.begin_transaction()
        return {}

    def commit(self, _request):
        self.producer.commit_transaction(30)
        return {}

    def abort(self, _request):
        self.producer.abort_transaction(30)
        return {}

    def offsets(self, request):
        offsets = [kafka.TopicPartition(row["topic"], row["partition"], row["offset"]) for row in request["offsets"]]
        self.producer.send_offsets_to_transaction(offsets, HANDLES[request["consumer"]].client.group(), 30)
        return {}

    def close(self, request):
        self.producer.flush(request.get("timeout_ms", 5000) / 1000)
        return {}

    def with_events(self, result):
        result["events"] = [describe(event) for event in self.events]
        self.events.clear()
        return result


def delivery(error, message):
    if error is not None:
        return {"error": describe(error)}
    return {"partition": message.partition(), "offset": message.offset(), "timestamp": message.timestamp()[1]}


class Consumers:
    """The operations of a `consumer` handle."""

    def __init__(self, request):
        self.events = []
        properties = settings(request, self.events)
        # librdkafka wants a group for every consumer, Kafka's client only for those that use one.
        properties.setdefault("group.id", "unused")
        self.consumer = kafka.Consumer(properties)

    def group(self):
        return self.consumer.consumer_group_metadata()

    def subscribe(self, request):
        self.consumer.subscribe(request["topics"])
        return {}

    def assign(self, request):
        offset = request.get("offset")
        start = kafka.OFFSET_BEGINNING if offset is None else offset
        self.consumer.assign([kafka.TopicPartition(topic, partition, start) for topic, partition in request["partitions"]])
        return {}

    def messages(self, request, enough):
        """Yields messages until `enough()`, the timeout, or an error that the client cannot mend by itself."""
        deadline = time.monotonic() + request["timeout_ms"] / 1000
        while not enough() and time.monotonic() < deadline:
            left = max(0.001, deadline - time.monotonic())
            for message in self.consumer.consume(500, min(left, RETRIABLE_POLL_SECONDS)):
                if message.error() is not None:
                    raise kafka.KafkaException(message.error())
                yield message
            for event in self.events:
                if is_final(event):
                    raise kafka.KafkaException(event)

    def poll(self, request):
        records = []
        result = {"records": records}
        try:
            for message in self.messages(request, lambda: len(records) >= request["count"]):
                records.append(
                    {
                        "topic": message.topic(),
                        "partition": message.partition(),
                        "offset": message.offset(),
                        "timestamp": message.timestamp()[1],
                        "key": text(message.key()),
                        "value": text(message.value()),
                        "headers": [[name, text(value)] for name, value in message.headers() or []],
                    }
                )
        except kafka.KafkaException as failure:
            result["error"] = describe(failure)
        return self.with_events(result)

    def count(self, request):
        numbers = set()
        sums = [0, 0]
        result = {}
        try:
            for message in self.messages(request, lambda: len(numbers) >= request["count"]):
                value = message.value()
                numbers.add(struct.unpack_from(">q", value)[0])
                sums[0] += 1
                sums[1] += len(value)
        except kafka.KafkaException as failure:
            result["error"] = describe(failure)
        result.update({"records": sums[0], "different": len(numbers), "bytes": sums[1]})
        return self.with_events(result)

    def commit(self, _request):
        self.consumer.commit(asynchronous=False)
        return {}

    def committed(self, request):
        wanted = [kafka.TopicPartition(topic, partition) for topic, partition in request["partitions"]]
        rows = self.consumer.committed(wanted, 30)
        # librdkafka says -1001 (invalid) where nothing was committed.
        offsets = [{"topic": row.topic, "partition": row.partition, "offset": max(row.offset, -1)} for row in rows]
        return {"offsets": offsets}

    def close(self, _request):
        self.consumer.close()
        return {}

    with_events = Producers.with_events


class Admins:
    """The operations of an `admin` handle."""

    def __init__(self, request):
        self.events = []
        self.admin = kafka_admin.AdminClient(settings(request, self.events))

    def topics(self, _request):
        listing = self.admin.list_topics(timeout=30)
        return {"topics": sorted(name for name in listing.topics if not name.startswith("__"))}

    def describe(self, request):
        rows = []
        for future in self.admin.describe_topics(kafka.TopicCollection(request["topics"])).values():
            topic = future.result(30)
            leaders = [node(partition.leader) for partition in topic.partitions]
            rows.append({"name": topic.name, "id": str(topic.topic_id), "leaders": leaders})
        return {"topics": rows}

    def cluster(self, _request):
        cluster = self.admin.describe_cluster().result(30)
        return {"id": cluster.cluster_id, "nodes": [node(each) for each in cluster.nodes]}

    def groups(self, request):
        rows = []
        for future in self.admin.describe_consumer_groups(request["groups"]).values():
            group = future.result(30)
            rows.append(
                {
                    "name": group.group_id,
                    "type": group.type.name,
                    "state": group.state.name,
                    "members": len(group.members),
                    "coordinator": node(group.coordinator),
                }
            )
        return {"groups": rows}

    def close(self, _request):
        return {}


def node(each):
    return {"id": each.id, "host": each.host, "port": each.port}


class Handle:
    """One Kafka client and the thread on which its operations run, in order."""

    def __init__(self, client):
        self.client = client
        self.requests = queue.Queue()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        operation = None
        while operation != "close":
            request = self.requests.get()
            operation = request["op"].split(".", 1)[1]
            answer(request, lambda: getattr(self.client, operation)(request))
        HANDLES.pop(request["handle"])


# Errors that librdkafka reports beside the messages and then retries for ever.
FINAL = {kafka.KafkaError._AUTHENTICATION, kafka.KafkaError.SASL_AUTHENTICATION_FAILED}

HANDLES = {}
CLIENTS = {
    "producer.open": Producers,
    "consumer.open": Consumers,
    "admin.open": Admins,
    "serdes.open": Serdes,
}
OUTPUT = threading.Lock()


def is_final(event):
    # While a coordinator is gone, librdkafka closes its own connection to it, at times in the middle of the login (its
    # "nodename change"), and calls that a failed login. It goes on by itself; no other broker's connection is spared.
    closed_itself = event.str().startswith("GroupCoordinator: ") and "Local: Broker transport failure" in event.str()
    return event.code() in FINAL and not closed_itself


def answer(request, call):
    try:
        row = {"id": request["id"], "result": call()}
    except Exception as failure:  # noqa: BLE001: whatever fails is the test's to judge
        row = {"id": request["id"], "error": describe(failure)}
    with OUTPUT:
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()


def open_handle(request):
    number = request["id"]
    HANDLES[number] = Handle(CLIENTS[request["op"]](request))
    return {"handle": number}


def main():
    for line in sys.stdin:
        request = json.loads(line)
        if "handle" not in request:
            threading.Thread(target=answer, args=(request, lambda request=request: open_handle(request))).start()
        elif request["handle"] in HANDLES:
            HANDLES[request["handle"]].requests.put(request)
        else:
            answer(request, lambda request=request: HANDLES[request["handle"]])
    os._exit(0)


main()
