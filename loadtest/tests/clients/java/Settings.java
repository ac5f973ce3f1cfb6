import com.fasterxml.jackson.databind.JsonNode;
import java.util.Base64;
import java.util.Properties;

/** A request's `config`, `login` and `ca` as properties of Kafka's Java client. */
final class Settings {
    private Settings() {}

    static Properties of(JsonNode request) {
        Properties properties = new Properties();
        JsonNode login = request.path("login");
        switch (login.path("mechanism").asText("")) {
            case "" -> {}
            case "OAUTHBEARER" -> {
                properties.put("sasl.mechanism", "OAUTHBEARER");
                properties.put("sasl.login.callback.handler.class", TokenLogin.class.getName());
                properties.put("sasl.jaas.config",
                        "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required token=\""
                                + login.get("token").asText() + "\";");
            }
            default -> {
                String mechanism = login.get("mechanism").asText();
                String module = mechanism.equals("PLAIN") ? "plain.PlainLoginModule" : "scram.ScramLoginModule";
                properties.put("sasl.mechanism", mechanism);
                properties.put("sasl.jaas.config",
                        "org.apache.kafka.common.security." + module + " required username=\""
                                + login.get("username").asText() + "\" password=\"" + login.get("password").asText()
                                + "\";");
            }
        }
        boolean encrypted = request.hasNonNull("ca");
        if (encrypted) {
            properties.put("ssl.truststore.type", "PEM");
            properties.put("ssl.truststore.location", request.get("ca").asText());
        }
        boolean named = !login.path("mechanism").asText("").isEmpty();
        properties.put("security.protocol", (named ? "SASL_" : "") + (encrypted ? "SSL" : "PLAINTEXT"));
        request.path("config").properties().forEach(
                entry -> properties.put(entry.getKey(), entry.getValue().asText()));
        return properties;
    }

    static byte[] bytes(JsonNode node) {
        return node == null || node.isNull() ? null : Base64.getDecoder().decode(node.asText());
    }

    static String text(byte[] bytes) {
        return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
    }
}
