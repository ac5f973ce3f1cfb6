"""The serialisers and deserialisers of confluent-kafka for one schema in a registry."""

import base64

from confluent_kafka.schema_registry import (
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    header_schema_id_serializer,
)
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory


class Serdes:
    """The operations of a `serdes` handle: documents to values, and back."""

    def __init__(self, request):
        client = SchemaRegistryClient({"url": request["registry"]})
        settings = {"schema.id.serializer": header_schema_id_serializer} if request.get("in_headers") else {}
        references = [SchemaReference(**reference) for reference in request.get("references") or []]
        make = {"AVRO": self.avro, "JSON": self.json, "PROTOBUF": self.protobuf}[request["format"]]
        make(client, request["schema"], references, settings)

    def avro(self, client, text, references, settings):
        self.write = AvroSerializer(client, Schema(text, "AVRO", references), conf=settings)
        self.read = AvroDeserializer(client)
        self.to_value = self.to_document = lambda value: value

    def json(self, client, text, references, settings):
        schema = Schema(text, "JSON", references)
        self.write = JSONSerializer(schema, client, conf={**settings, "validate": True})
        self.read = JSONDeserializer(schema, schema_registry_client=client)
        self.to_value = self.to_document = lambda value: value

    def protobuf(self, client, files, _references, settings):
        """The schema is a list of file descriptors as JSON, each behind those that it imports; the message is the last
        file's first."""
        pool = descriptor_pool.DescriptorPool()
        for file in files:
            described = pool.Add(json_format.ParseDict(file, descriptor_pb2.FileDescriptorProto()))
        described = pool.FindFileByName(files[-1]["name"])
        message = next(iter(described.message_types_by_name.values()))
        kind = message_factory.GetMessageClass(message)
        self.write = ProtobufSerializer(kind, client, {**settings, "use.deprecated.format": False})
        self.read = ProtobufDeserializer(kind, {"use.deprecated.format": False}, client)
        self.to_value = lambda document: json_format.ParseDict(document, kind())
        self.to_document = lambda value: json_format.MessageToDict(value, preserving_proto_field_name=True)

    def serialise(self, request):
        records = []
        keys = request.get("keys") or [None] * len(request["documents"])
        for document, key in zip(request["documents"], keys):
            headers = []
            value_of = SerializationContext(request["topic"], MessageField.VALUE, headers)
            key_of = SerializationContext(request["topic"], MessageField.KEY, headers)
            value = self.write(self.to_value(document), value_of)
            key = None if key is None else self.write(self.to_value(key), key_of)
            records.append(
                {
                    "partition": 0,
                    "value": text(value),
                    "key": text(key),
                    "headers": [[name, text(header)] for name, header in headers],
                }
            )
        return {"records": records}

    def deserialise(self, request):
        documents = []
        for record in request["records"]:
            headers = [(name, data(value)) for name, value in record["headers"]]
            value_of = SerializationContext(request["topic"], MessageField.VALUE, headers)
            key_of = SerializationContext(request["topic"], MessageField.KEY, headers)
            try:
                document = self.document(record["value"], value_of)
                if record["key"] is not None:
                    document = {"key": self.document(record["key"], key_of), "value": document}
                documents.append({"document": document})
            except Exception as failure:  # noqa: BLE001: whatever fails is the test's to judge
                documents.append({"error": f"{type(failure).__name__}: {failure}"})
        return {"documents": documents}

    def document(self, value, context):
        read = self.read(data(value), context)
        return None if read is None else self.to_document(read)

    def close(self, _request):
        return {}


def text(value):
    return None if value is None else base64.b64encode(value).decode()


def data(value):
    return None if value is None else base64.b64decode(value)
