import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The operations of a `producer` handle. */
final class Producers implements Clients.Client {
    private final KafkaProducer<byte[], byte[]> producer;

    Producers(Properties properties) {
        producer = new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
    }

    @Override
    public JsonNode call(String operation, JsonNode request) throws Exception {
        switch (operation) {
            case "send" -> {
                return send(request);
            }
            case "generate" -> {
                return generate(request);
            }
            case "init" -> producer.initTransactions();
            case "begin" -> producer.beginTransaction();
            case "commit" -> producer.commitTransaction();
            case "abort" -> producer.abortTransaction();
            case "offsets" -> offsets(request);
            case "close" -> producer.close(Duration.ofMillis(request.path("timeout_ms").asLong(5_000)));
            default -> throw new IllegalArgumentException("no operation producer." + operation);
        }
        return Clients.JSON.createObjectNode();
    }

    /** Sends every record, then waits for every answer; the result has a row per record, in order. */
    private JsonNode send(JsonNode request) {
        List<Object> outcomes = new ArrayList<>();
        for (JsonNode record : request.get("records")) {
            try {
                outcomes.add(producer.send(record(request.get("topic").asText(), record)));
            } catch (RuntimeException refused) {
                outcomes.add(refused);
            }
        }
        producer.flush();
        ArrayNode rows = Clients.JSON.createArrayNode();
        for (Object outcome : outcomes) {
            rows.add(row(outcome));
        }
        return Clients.JSON.createObjectNode().set("records", rows);
    }

    private static ProducerRecord<byte[], byte[]> record(String topic, JsonNode record) {
        RecordHeaders headers = new RecordHeaders();
        for (JsonNode header : record.path("headers")) {
            headers.add(header.get(0).asText(), Settings.bytes(header.get(1)));
        }
        Integer partition = record.hasNonNull("partition") ? record.get("partition").asInt() : null;
        Long timestamp = record.hasNonNull("timestamp") ? record.get("timestamp").asLong() : null;
        return new ProducerRecord<>(topic, partition, timestamp, Settings.bytes(record.get("key")),
                Settings.bytes(record.get("value")), headers);
    }

    private static ObjectNode row(Object outcome) {
        ObjectNode row = Clients.JSON.createObjectNode();
        try {
            if (outcome instanceof RuntimeException refused) {
                throw refused;
            }
            RecordMetadata metadata = (RecordMetadata) ((Future<?>) outcome).get();
            row.put("partition", metadata.partition());
            row.put("offset", metadata.offset());
            row.put("timestamp", metadata.timestamp());
        } catch (Exception failure) {
            row.set("error", Clients.describe(failure));
        }
        return row;
    }

    /** Sends `count` values of `size` bytes, each beginning with its number, big-endian; the result sums up. */
    private JsonNode generate(JsonNode request) {
        int size = Math.max(Long.BYTES, request.get("size").asInt());
        Integer partition = request.hasNonNull("partition") ? request.get("partition").asInt() : null;
        Map<String, Integer> errors = new TreeMap<>();
        int[] acknowledged = {0};
        for (long number = 0; number < request.get("count").asLong(); number++) {
            byte[] value = new byte[size];
            ByteBuffer.wrap(value).putLong(number);
            producer.send(new ProducerRecord<>(request.get("topic").asText(), partition, null, value),
                    (metadata, failure) -> {
                        synchronized (errors) {
                            if (failure == null) {
                                acknowledged[0]++;
                            } else {
                                errors.merge(failure.getClass().getSimpleName(), 1, Integer::sum);
                            }
                        }
                    });
        }
        producer.flush();
        ObjectNode result = Clients.JSON.createObjectNode();
        synchronized (errors) {
            result.put("acknowledged", acknowledged[0]);
            result.set("errors", Clients.JSON.valueToTree(errors));
        }
        return result;
    }

    private void offsets(JsonNode request) {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (JsonNode entry : request.get("offsets")) {
            offsets.put(new TopicPartition(entry.get("topic").asText(), entry.get("partition").asInt()),
                    new OffsetAndMetadata(entry.get("offset").asLong()));
        }
        producer.sendOffsetsToTransaction(offsets, Clients.consumer(request.get("consumer").asLong()).group());
    }
}
