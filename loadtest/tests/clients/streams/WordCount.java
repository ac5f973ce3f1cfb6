import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.CloseOptions.GroupMembershipOperation;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Produced;

/**
 * Counts words, exactly once: words go through a repartition topic, and counts are kept in a changelog topic.
 *
 * Usage: `WordCount NAME`, with the access in the environment, `GROUP_PROTOCOL` (`classic` or `streams`), and `STATE_DIR`.
 * The application `own-NAME` counts the words of `own-NAME-lines` into `own-NAME-counts`. It is closed, loses its local
 * state, and starts again where it was. The application `closed-NAME` is refused.
 */
public final class WordCount {
    private static final long PATIENCE_SECONDS = 60;

    private final String lines;
    private final String counts;

    private WordCount(String name) {
        lines = "own-" + name + "-lines";
        counts = "own-" + name + "-counts";
    }

    public static void main(String[] arguments) {
        try {
            WordCount application = new WordCount(arguments[0]);
            application.count("own-" + arguments[0], List.of("a rose is a rose", "is a rose"),
                    Map.of("a", List.of(1L, 2L, 3L), "rose", List.of(1L, 2L, 3L), "is", List.of(1L, 2L)));
            application.count("own-" + arguments[0], List.of("a gate"),
                    Map.of("a", List.of(1L, 2L, 3L, 4L), "rose", List.of(1L, 2L, 3L), "is", List.of(1L, 2L), "gate",
                            List.of(1L)));
            application.refused("closed-" + arguments[0]);
        } catch (Throwable failure) {
            failure.printStackTrace();
            System.exit(1);
        }
        System.out.println("passed");
        System.exit(0);
    }

    private Topology topology() {
        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream(lines)
                .flatMapValues(line -> Arrays.asList(line.split(" ")))
                .groupBy((key, word) -> word)
                .count()
                .toStream()
                .to(counts, Produced.with(Serdes.String(), Serdes.Long()));
        return builder.build();
    }

    private KafkaStreams application(String id) throws Exception {
        Properties properties = access();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, id);
        properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        properties.put(StreamsConfig.GROUP_PROTOCOL_CONFIG, System.getenv("GROUP_PROTOCOL"));
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        properties.put(StreamsConfig.STATE_DIR_CONFIG,
                Files.createTempDirectory(Path.of(System.getenv("STATE_DIR")), "state-").toString());
        properties.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        properties.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        // Every count is told, so that one that is told twice shows.
        properties.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        properties.put("auto.offset.reset", "earliest");
        return new KafkaStreams(topology(), properties);
    }

    /** Writes lines, runs the application until its output is as expected, and closes it. */
    private void count(String id, List<String> written, Map<String, List<Long>> expected) throws Exception {
        try (var producer = new KafkaProducer<>(access(), new StringSerializer(), new StringSerializer())) {
            for (String line : written) {
                producer.send(new ProducerRecord<>(lines, line)).get();
            }
        }
        CompletableFuture<Throwable> failed = new CompletableFuture<>();
        KafkaStreams streams = application(id);
        streams.setUncaughtExceptionHandler(failure -> {
            failed.complete(failure);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        try {
            awaitCounts(expected, failed::isDone);
        } finally {
            streams.close(CloseOptions.groupMembershipOperation(GroupMembershipOperation.LEAVE_GROUP)
                    .withTimeout(Duration.ofSeconds(30)));
            streams.cleanUp();
        }
        if (failed.isDone()) {
            throw new AssertionError("expected an application that runs, got " + failed.get(), failed.get());
        }
    }

    private void awaitCounts(Map<String, List<Long>> expected, BooleanSupplier failed) {
        Properties properties = access();
        properties.put("isolation.level", "read_committed");
        Map<String, List<Long>> told = new TreeMap<>();
        long deadline = System.nanoTime() + PATIENCE_SECONDS * 1_000_000_000L;
        try (var consumer = new KafkaConsumer<>(properties, new StringDeserializer(), new LongDeserializer())) {
            TopicPartition partition = new TopicPartition(counts, 0);
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            while (!told.equals(expected) && !failed.getAsBoolean() && System.nanoTime() < deadline) {
                consumer.poll(Duration.ofMillis(100)).forEach(record ->
                        told.computeIfAbsent(record.key(), word -> new ArrayList<>()).add(record.value()));
            }
        }
        if (!told.equals(expected) && !failed.getAsBoolean()) {
            throw new AssertionError("counts: expected " + new TreeMap<>(expected) + ", got " + told);
        }
    }

    private void refused(String id) throws Exception {
        CompletableFuture<Throwable> failed = new CompletableFuture<>();
        KafkaStreams streams = application(id);
        streams.setUncaughtExceptionHandler(failure -> {
            failed.complete(failure);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        Throwable cause = failed.completeOnTimeout(null, PATIENCE_SECONDS, TimeUnit.SECONDS).get();
        streams.close(Duration.ofSeconds(30));
        streams.cleanUp();
        for (Throwable inner = cause; inner != null; inner = inner.getCause()) {
            if (inner instanceof AuthorizationException) {
                return;
            }
        }
        throw new AssertionError("an application without right: expected AuthorizationException, got "
                + (cause == null ? "nothing within " + PATIENCE_SECONDS + " s" : cause), cause);
    }

    private static Properties access() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", System.getenv("BOOTSTRAP"));
        properties.put("security.protocol", "SASL_PLAINTEXT");
        properties.put("sasl.mechanism", "PLAIN");
        properties.put("sasl.jaas.config", String.format(
                "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"%s\" password=\"%s\";",
                System.getenv("SASL_USERNAME"), System.getenv("SASL_PASSWORD")));
        return properties;
    }
}
