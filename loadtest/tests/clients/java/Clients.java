import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.protocol.Errors;

/**
 * Kafka's own Java client behind a line protocol, so that one JVM serves all tests.
 *
 * Each line on stdin is a request `{"id":1,"op":"producer.open",...}`; each line on stdout is its answer,
 * `{"id":1,"result":{...}}` or `{"id":1,"error":{"name":...,"code":...,"message":...}}`. Requests that name one
 * handle run in their order on a thread of that handle, because Kafka's consumer belongs to one thread; handles run
 * side by side. The process ends when stdin does. `clients.py` speaks the same protocol over librdkafka.
 */
public final class Clients {
    static final ObjectMapper JSON = new ObjectMapper();

    /** What a handle stands for: one Kafka client that answers operations by name. */
    interface Client {
        JsonNode call(String operation, JsonNode request) throws Exception;
    }

    private record Handle(Client client, ExecutorService thread) {}

    private static final Map<Long, Handle> HANDLES = new ConcurrentHashMap<>();
    private static final AtomicLong NEXT_HANDLE = new AtomicLong(1);
    private static final PrintStream ANSWERS =
            new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);

    public static void main(String[] arguments) throws Exception {
        // Whatever a library prints must not break the protocol on stdout.
        System.setOut(System.err);
        ExecutorService openers = Executors.newCachedThreadPool();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JsonNode request = JSON.readTree(line);
            JsonNode number = request.get("handle");
            if (number == null) {
                openers.execute(() -> answer(request, null));
                continue;
            }
            Handle handle = HANDLES.get(number.asLong());
            if (handle == null) {
                fail(request, new IllegalArgumentException("no handle " + number));
            } else {
                handle.thread().execute(() -> answer(request, handle));
            }
        }
        // Consumers of a test that failed would wait for their timeouts otherwise.
        Runtime.getRuntime().halt(0);
    }

    private static void answer(JsonNode request, Handle handle) {
        try {
            String operation = request.get("op").asText();
            ObjectNode answer = JSON.createObjectNode();
            answer.set("id", request.get("id"));
            if (handle == null) {
                answer.putObject("result").put("handle", open(operation, request));
            } else {
                answer.set("result", handle.client().call(operation.substring(operation.indexOf('.') + 1), request));
            }
            write(answer);
        } catch (Throwable failure) {
            fail(request, failure);
        }
        if (handle != null && request.get("op").asText().endsWith(".close")) {
            HANDLES.remove(request.get("handle").asLong());
            handle.thread().shutdown();
        }
    }

    private static long open(String operation, JsonNode request) {
        Client client = switch (operation) {
            case "producer.open" -> new Producers(Settings.of(request));
            case "consumer.open" -> new Consumers(Settings.of(request));
            case "admin.open" -> new Admins(Settings.of(request));
            default -> throw new IllegalArgumentException("no operation " + operation);
        };
        long number = NEXT_HANDLE.getAndIncrement();
        HANDLES.put(number, new Handle(client, Executors.newSingleThreadExecutor()));
        return number;
    }

    /** The consumer behind a handle, for a transaction that carries its offsets. */
    static Consumers consumer(long handle) {
        return (Consumers) HANDLES.get(handle).client();
    }

    static ObjectNode describe(Throwable failure) {
        Throwable cause = failure;
        while (cause instanceof ExecutionException && cause.getCause() != null) {
            cause = cause.getCause();
        }
        // Kafka wraps what a user callback or a login threw; the API error inside is what the broker said.
        for (Throwable inner = cause; inner != null; inner = inner.getCause()) {
            if (inner instanceof ApiException) {
                cause = inner;
                break;
            }
        }
        ObjectNode error = JSON.createObjectNode();
        error.put("name", cause.getClass().getSimpleName());
        error.put("code", Errors.forException(cause).code());
        error.put("message", String.valueOf(cause.getMessage()));
        error.put("retriable", cause instanceof RetriableException);
        return error;
    }

    private static void fail(JsonNode request, Throwable failure) {
        ObjectNode answer = JSON.createObjectNode();
        answer.set("id", request.get("id"));
        answer.set("error", describe(failure));
        write(answer);
    }

    private static void write(JsonNode answer) {
        synchronized (ANSWERS) {
            ANSWERS.println(answer.toString());
        }
    }
}
