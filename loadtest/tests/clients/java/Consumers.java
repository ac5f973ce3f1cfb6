import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** The operations of a `consumer` handle. */
final class Consumers implements Clients.Client {
    private final KafkaConsumer<byte[], byte[]> consumer;

    Consumers(Properties properties) {
        consumer = new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    ConsumerGroupMetadata group() {
        return consumer.groupMetadata();
    }

    @Override
    public JsonNode call(String operation, JsonNode request) throws Exception {
        switch (operation) {
            case "poll" -> {
                return poll(request);
            }
            case "count" -> {
                return count(request);
            }
            case "committed" -> {
                return committed(request);
            }
            case "subscribe" -> {
                List<String> topics = new ArrayList<>();
                request.get("topics").forEach(topic -> topics.add(topic.asText()));
                if (topics.size() == 1 && topics.get(0).startsWith("^")) {
                    // As librdkafka has it: that is an expression, which the other side evaluates.
                    consumer.subscribe(new SubscriptionPattern(topics.get(0)));
                } else {
                    consumer.subscribe(topics);
                }
            }
            case "assign" -> assign(request);
            case "commit" -> consumer.commitSync();
            case "close" -> consumer.close(
                    CloseOptions.timeout(Duration.ofMillis(request.path("timeout_ms").asLong(5_000))));
            default -> throw new IllegalArgumentException("no operation consumer." + operation);
        }
        return Clients.JSON.createObjectNode();
    }

    private void assign(JsonNode request) {
        List<TopicPartition> partitions = partitions(request);
        consumer.assign(partitions);
        if (request.hasNonNull("offset")) {
            partitions.forEach(partition -> consumer.seek(partition, request.get("offset").asLong()));
        } else {
            consumer.seekToBeginning(partitions);
        }
    }

    /** Polls until `count` records are there, `timeout_ms` has passed, or the client gives up with an error. */
    private JsonNode poll(JsonNode request) {
        int wanted = request.get("count").asInt();
        long deadline = System.nanoTime() + request.get("timeout_ms").asLong() * 1_000_000;
        ObjectNode result = Clients.JSON.createObjectNode();
        ArrayNode records = result.putArray("records");
        try {
            while (records.size() < wanted && System.nanoTime() < deadline) {
                consumer.poll(slice(deadline)).forEach(record -> records.add(row(record)));
            }
        } catch (RuntimeException failure) {
            result.set("error", Clients.describe(failure));
        }
        return result;
    }

    /** As `poll`, for values of `producer.generate`: says how many came, how many different, and their bytes. */
    private JsonNode count(JsonNode request) {
        long wanted = request.get("count").asLong();
        long deadline = System.nanoTime() + request.get("timeout_ms").asLong() * 1_000_000;
        Set<Long> numbers = new TreeSet<>();
        long[] sums = {0, 0};
        ObjectNode result = Clients.JSON.createObjectNode();
        try {
            while (numbers.size() < wanted && System.nanoTime() < deadline) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(slice(deadline))) {
                    numbers.add(ByteBuffer.wrap(record.value()).getLong());
                    sums[0]++;
                    sums[1] += record.value().length;
                }
            }
        } catch (RuntimeException failure) {
            result.set("error", Clients.describe(failure));
        }
        return result.put("records", sums[0]).put("different", numbers.size()).put("bytes", sums[1]);
    }

    private static Duration slice(long deadline) {
        long left = Math.max(1, (deadline - System.nanoTime()) / 1_000_000);
        return Duration.ofMillis(Math.min(left, 200));
    }

    private static ObjectNode row(ConsumerRecord<byte[], byte[]> record) {
        ObjectNode row = Clients.JSON.createObjectNode();
        row.put("topic", record.topic());
        row.put("partition", record.partition());
        row.put("offset", record.offset());
        row.put("timestamp", record.timestamp());
        row.put("key", Settings.text(record.key()));
        row.put("value", Settings.text(record.value()));
        ArrayNode headers = row.putArray("headers");
        for (Header header : record.headers()) {
            headers.addArray().add(header.key()).add(Settings.text(header.value()));
        }
        return row;
    }

    private JsonNode committed(JsonNode request) {
        Map<TopicPartition, OffsetAndMetadata> offsets = consumer.committed(Set.copyOf(partitions(request)));
        ArrayNode rows = Clients.JSON.createArrayNode();
        offsets.forEach((partition, offset) -> rows.addObject()
                .put("topic", partition.topic())
                .put("partition", partition.partition())
                .put("offset", offset == null ? -1 : offset.offset()));
        return Clients.JSON.createObjectNode().set("offsets", rows);
    }

    private static List<TopicPartition> partitions(JsonNode request) {
        List<TopicPartition> partitions = new ArrayList<>();
        for (JsonNode entry : request.get("partitions")) {
            partitions.add(new TopicPartition(entry.get(0).asText(), entry.get(1).asInt()));
        }
        return partitions;
    }
}
