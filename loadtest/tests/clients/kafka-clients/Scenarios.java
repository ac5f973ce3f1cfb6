import java.util.Properties;

/**
 * What users of Kafka's own Java client do, in the release that it is compiled against: see `SCENARIOS.md`.
 *
 * Usage: `Scenarios groups|transactions|admin NAME`, with the access in the environment.
 */
public final class Scenarios {
    private Scenarios() {}

    public static void main(String[] arguments) {
        String name = arguments[1];
        try {
            switch (arguments[0]) {
                case "groups" -> Groups.run(name);
                case "transactions" -> Transactions.run(name);
                case "admin" -> Administration.run(name);
                default -> throw new IllegalArgumentException("no scenario " + arguments[0]);
            }
        } catch (Throwable failure) {
            failure.printStackTrace();
            System.exit(1);
        }
        System.out.println("passed");
        System.exit(0);
    }

    /** How every client of a scenario connects. */
    static Properties access() {
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
