import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.Node;

/** The operations of an `admin` handle. */
final class Admins implements Clients.Client {
    private final Admin admin;

    Admins(Properties properties) {
        admin = Admin.create(properties);
    }

    @Override
    public JsonNode call(String operation, JsonNode request) throws Exception {
        ObjectNode result = Clients.JSON.createObjectNode();
        switch (operation) {
            case "topics" -> result.set("topics",
                    Clients.JSON.valueToTree(new TreeSet<>(done(admin.listTopics().names()))));
            case "describe" -> describe(names(request, "topics"), result.putArray("topics"));
            case "cluster" -> cluster(result);
            case "groups" -> groups(names(request, "groups"), result.putArray("groups"));
            case "close" -> admin.close(Duration.ofSeconds(5));
            default -> throw new IllegalArgumentException("no operation admin." + operation);
        }
        return result;
    }

    private void describe(List<String> topics, ArrayNode rows) throws Exception {
        for (TopicDescription topic : done(admin.describeTopics(topics).allTopicNames()).values()) {
            ObjectNode row = rows.addObject().put("name", topic.name()).put("id", topic.topicId().toString());
            ArrayNode leaders = row.putArray("leaders");
            topic.partitions().forEach(partition -> leaders.add(node(partition.leader())));
        }
    }

    private void cluster(ObjectNode result) throws Exception {
        DescribeClusterResult cluster = admin.describeCluster();
        result.put("id", done(cluster.clusterId()));
        ArrayNode nodes = result.putArray("nodes");
        for (Node node : done(cluster.nodes())) {
            nodes.add(node(node));
        }
    }

    private void groups(List<String> names, ArrayNode rows) throws Exception {
        for (ConsumerGroupDescription group : done(admin.describeConsumerGroups(names).all()).values()) {
            rows.addObject().put("name", group.groupId()).put("type", group.type().toString())
                    .put("state", group.groupState().toString()).put("members", group.members().size())
                    .set("coordinator", node(group.coordinator()));
        }
    }

    private static ObjectNode node(Node node) {
        return Clients.JSON.createObjectNode().put("id", node.id()).put("host", node.host()).put("port", node.port());
    }

    private static List<String> names(JsonNode request, String field) {
        List<String> names = new ArrayList<>();
        request.get(field).forEach(name -> names.add(name.asText()));
        return names;
    }

    private static <T> T done(KafkaFuture<T> future) throws Exception {
        return future.get(30, TimeUnit.SECONDS);
    }
}
