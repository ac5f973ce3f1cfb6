import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.GroupAuthorizationException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Two members share a topic, one leaves, a third goes on where they were; a group without right is refused. */
final class Groups {
    private static final int PARTITIONS = 4;

    private final String topic;
    private final List<TopicPartition> partitions;

    private Groups(String topic) {
        this.topic = topic;
        partitions = IntStream.range(0, PARTITIONS).mapToObj(number -> new TopicPartition(topic, number)).toList();
    }

    static void run(String name) throws Exception {
        Groups groups = new Groups("own-" + name);
        groups.produce(0, 10);
        groups.share("own-" + name);
        groups.produce(10, 11);
        groups.resume("own-" + name);
        groups.refused("closed-" + name);
        groups.refused("read-" + name);
    }

    private void produce(int from, int to) throws Exception {
        Properties properties = Scenarios.access();
        try (var producer = new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer())) {
            for (TopicPartition partition : partitions) {
                for (int number = from; number < to; number++) {
                    String value = partition.partition() + "-" + number;
                    producer.send(new ProducerRecord<>(topic, partition.partition(), null, value)).get();
                }
            }
        }
    }

    private void share(String group) {
        Set<String> values = new TreeSet<>();
        try (Member first = new Member(group)) {
            try (Member second = new Member(group)) {
                Expect.eventually("two members with two partitions each, all values read and committed", () -> {
                    values.addAll(first.poll());
                    values.addAll(second.poll());
                }, () -> first.assigned() == 2 && second.assigned() == 2
                        && first.committed().equals(Map.of(0, 10L, 1, 10L, 2, 10L, 3, 10L)));
            }
            Expect.equal("values that the members read", expected(0, 10), values);
            Expect.eventually("all four partitions for the one who stays", first::poll, () -> first.assigned() == 4);
        }
    }

    private void resume(String group) {
        Set<String> values = new TreeSet<>();
        try (Member third = new Member(group)) {
            Expect.eventually("what was written since", () -> values.addAll(third.poll()),
                    () -> values.size() >= PARTITIONS);
            Expect.equal("values that a new member reads", expected(10, 11), values);
            Expect.equal("offsets that it committed", Map.of(0, 11L, 1, 11L, 2, 11L, 3, 11L), third.committed());
        }
    }

    private void refused(String group) {
        try (Member stranger = new Member(group)) {
            GroupAuthorizationException refused = Expect.failure("a group without right",
                    GroupAuthorizationException.class, () -> {
                        Expect.eventually("an answer", stranger::poll, () -> stranger.assigned() > 0);
                        return "partitions";
                    });
            Expect.equal("what the refusal says", "Not authorized to access group: " + group, refused.getMessage());
        }
    }

    private static Set<String> expected(int from, int to) {
        return IntStream.range(0, PARTITIONS).boxed()
                .flatMap(partition -> IntStream.range(from, to).mapToObj(number -> partition + "-" + number))
                .collect(Collectors.toCollection(TreeSet::new));
    }

    /** A member that commits what it has read, also before its partitions go to another. */
    private final class Member implements AutoCloseable, ConsumerRebalanceListener {
        private final KafkaConsumer<String, String> consumer;
        private final Map<TopicPartition, OffsetAndMetadata> read = new HashMap<>();

        Member(String group) {
            Properties properties = Scenarios.access();
            properties.put("group.id", group);
            properties.put("auto.offset.reset", "earliest");
            properties.put("enable.auto.commit", "false");
            String protocol = System.getenv("GROUP_PROTOCOL");
            if (protocol != null) {
                properties.put("group.protocol", protocol);
            } else {
                properties.put("heartbeat.interval.ms", "500");
            }
            consumer = new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
            consumer.subscribe(List.of(topic), this);
        }

        Set<String> poll() {
            Set<String> values = new TreeSet<>();
            for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) {
                values.add(record.value());
                read.put(new TopicPartition(record.topic(), record.partition()),
                        new OffsetAndMetadata(record.offset() + 1));
            }
            if (!values.isEmpty()) {
                consumer.commitSync(read);
            }
            return values;
        }

        int assigned() {
            return consumer.assignment().size();
        }

        Map<Integer, Long> committed() {
            Map<Integer, Long> offsets = new TreeMap<>();
            consumer.committed(Set.copyOf(partitions)).forEach((partition, offset) ->
                    offsets.put(partition.partition(), offset == null ? -1 : offset.offset()));
            return offsets;
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> revoked) {
            read.keySet().removeAll(revoked);
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> assigned) {}

        @Override
        public void close() {
            consumer.close();
        }
    }
}
