import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.function.BooleanSupplier;

/** Expectations that say what was expected, and what came. */
final class Expect {
    private static final long PATIENCE_SECONDS = 60;

    private Expect() {}

    static void equal(String what, Object expected, Object got) {
        if (!Objects.equals(expected, got)) {
            throw new AssertionError(what + ": expected " + expected + ", got " + got);
        }
    }

    /** Does `step` until `done`, within a minute. */
    static void eventually(String what, Runnable step, BooleanSupplier done) {
        long deadline = System.nanoTime() + PATIENCE_SECONDS * 1_000_000_000L;
        do {
            if (System.nanoTime() > deadline) {
                throw new AssertionError("expected within " + PATIENCE_SECONDS + " s: " + what);
            }
            step.run();
        } while (!done.getAsBoolean());
    }

    /** The exception of this class that the client throws. */
    static <T extends Throwable> T failure(String what, Class<T> expected, Callable<?> call) {
        Object got;
        try {
            got = call.call();
        } catch (Throwable failure) {
            Throwable cause = failure instanceof ExecutionException ? failure.getCause() : failure;
            if (expected.isInstance(cause)) {
                return expected.cast(cause);
            }
            throw new AssertionError(what + ": expected " + expected.getSimpleName() + ", got " + cause, cause);
        }
        throw new AssertionError(what + ": expected " + expected.getSimpleName() + ", got " + got);
    }
}
