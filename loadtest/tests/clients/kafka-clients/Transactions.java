import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TopicAuthorizationException;
import org.apache.kafka.common.errors.TransactionalIdAuthorizationException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Committed and aborted transactions, one topic transformed into another, and what may not be done. */
final class Transactions {
    private final String name;
    private final TopicPartition from;
    private final TopicPartition to;

    private Transactions(String name) {
        this.name = name;
        from = new TopicPartition("own-" + name + "-in", 0);
        to = new TopicPartition("own-" + name + "-out", 0);
    }

    static void run(String name) throws Exception {
        Transactions transactions = new Transactions(name);
        transactions.write();
        transactions.read();
        transactions.transform();
        transactions.refused();
    }

    private void write() {
        try (KafkaProducer<String, String> producer = producer("own-" + name)) {
            producer.initTransactions();
            for (String value : List.of("committed-0", "aborted-0", "committed-1")) {
                producer.beginTransaction();
                producer.send(new ProducerRecord<>(from.topic(), value + "-a"));
                producer.send(new ProducerRecord<>(from.topic(), value + "-b"));
                if (value.startsWith("aborted")) {
                    producer.flush();
                    producer.abortTransaction();
                } else {
                    producer.commitTransaction();
                }
            }
        }
    }

    private void read() {
        List<String> committed = List.of("committed-0-a", "committed-0-b", "committed-1-a", "committed-1-b");
        Expect.equal("what is read committed", committed, readAll(from, "read_committed"));
        List<String> all = List.of("committed-0-a", "committed-0-b", "aborted-0-a", "aborted-0-b", "committed-1-a",
                "committed-1-b");
        Expect.equal("what is read uncommitted", all, readAll(from, "read_uncommitted"));
    }

    /** Reads, transforms and writes in one transaction; the first is aborted, so that its records come again. */
    private void transform() throws Exception {
        long last = -1;
        try (KafkaConsumer<String, String> consumer = consumer("own-" + name, "read_committed");
                KafkaProducer<String, String> producer = producer("own-" + name)) {
            producer.initTransactions();
            consumer.subscribe(List.of(from.topic()));
            int transformed = 0;
            boolean aborts = true;
            long deadline = System.nanoTime() + 60_000_000_000L;
            while (transformed < 4) {
                Expect.equal("records transformed within a minute", true, System.nanoTime() < deadline);
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
                if (records.isEmpty()) {
                    continue;
                }
                producer.beginTransaction();
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                for (ConsumerRecord<String, String> record : records) {
                    producer.send(new ProducerRecord<>(to.topic(), record.value().toUpperCase(Locale.ROOT)));
                    last = record.offset() + 1;
                    offsets.put(from, new OffsetAndMetadata(last));
                }
                producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                if (aborts) {
                    producer.abortTransaction();
                    Expect.equal("offset after the aborted transaction", null,
                            consumer.committed(Set.of(from)).get(from));
                    consumer.seekToBeginning(consumer.assignment());
                    aborts = false;
                } else {
                    producer.commitTransaction();
                    transformed += records.count();
                }
            }
            OffsetAndMetadata committed = consumer.committed(Set.of(from)).get(from);
            Expect.equal("offset that went with the transaction", last, committed.offset());
        }
        List<String> capitals = List.of("COMMITTED-0-A", "COMMITTED-0-B", "COMMITTED-1-A", "COMMITTED-1-B");
        Expect.equal("what was transformed", capitals, readAll(to, "read_committed"));
    }

    private void refused() throws Exception {
        for (String id : List.of("closed-" + name, "read-" + name)) {
            try (KafkaProducer<String, String> producer = producer(id)) {
                Expect.failure("the transactional id " + id, TransactionalIdAuthorizationException.class, () -> {
                    producer.initTransactions();
                    return "a producer id";
                });
            }
        }
        try (KafkaProducer<String, String> producer = producer("own-" + name)) {
            producer.initTransactions();
            producer.beginTransaction();
            String topic = "read-" + name;
            TopicAuthorizationException refused = Expect.failure("a topic that may not be written",
                    TopicAuthorizationException.class, () -> producer.send(new ProducerRecord<>(topic, "x")).get());
            Expect.equal("topics that are refused", Set.of(topic), refused.unauthorizedTopics());
            producer.abortTransaction();
        }
    }

    private static KafkaProducer<String, String> producer(String transactionalId) {
        Properties properties = Scenarios.access();
        properties.put("transactional.id", transactionalId);
        return new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer());
    }

    private static KafkaConsumer<String, String> consumer(String group, String isolation) {
        Properties properties = Scenarios.access();
        if (group != null) {
            properties.put("group.id", group);
        }
        properties.put("isolation.level", isolation);
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        return new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
    }

    /** The values from the beginning of a partition to its end, as of now. */
    private static List<String> readAll(TopicPartition partition, String isolation) {
        List<String> values = new ArrayList<>();
        try (KafkaConsumer<String, String> consumer = consumer(null, isolation)) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            Expect.eventually("the end of " + partition,
                    () -> consumer.poll(Duration.ofMillis(200)).forEach(record -> values.add(record.value())),
                    () -> consumer.position(partition) >= end);
        }
        return values;
    }
}
