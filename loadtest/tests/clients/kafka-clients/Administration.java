import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.errors.GroupAuthorizationException;
import org.apache.kafka.common.errors.TopicAuthorizationException;

/** Topics and groups are administered; what may not be done is refused, and what may not be seen is not there. */
final class Administration {
    private Administration() {}

    static void run(String name) throws Exception {
        try (Admin admin = Admin.create(Scenarios.access())) {
            topics(admin, "own-" + name, "read-" + name, "closed-" + name);
            groups(admin, "own-" + name, "closed-" + name);
            refused(admin, "read-" + name, "closed-" + name);
            delete(admin, "own-" + name);
        }
    }

    private static void topics(Admin admin, String own, String read, String closed) throws Exception {
        admin.createTopics(List.of(new NewTopic(own, Optional.of(2), Optional.empty()))).all().get();
        // Kafka answers before all of it knows.
        Expect.eventually("the new topic in the list", () -> {}, () -> names(admin).contains(own));
        Set<String> seen = names(admin).stream().filter(List.of(own, read, closed)::contains)
                .collect(Collectors.toSet());
        Expect.equal("topics that are seen", Set.of(own, read), seen);
        Expect.eventually("two partitions", () -> {}, () -> Calls.partitions(admin, own) == 2);
        admin.createPartitions(Map.of(own, NewPartitions.increaseTo(4))).all().get();
        Expect.eventually("four partitions", () -> {}, () -> Calls.partitions(admin, own) == 4);
        for (Node node : admin.describeCluster().nodes().get()) {
            System.out.println("broker " + node);
        }
    }

    private static void groups(Admin admin, String own, String closed) throws Exception {
        Set<String> listed = Calls.groups(admin);
        listed.retainAll(Set.of(own, closed));
        Expect.equal("groups that are seen", Set.of(own), listed);
        Expect.equal("the group's state", "Empty", Calls.state(admin, own));
        Expect.failure("describing a group without right", GroupAuthorizationException.class,
                () -> Calls.state(admin, closed));
    }

    private static void refused(Admin admin, String read, String closed) {
        Expect.failure("creating a topic without right", TopicAuthorizationException.class,
                () -> admin.createTopics(List.of(new NewTopic(closed + "-new", 1, (short) 1))).all().get());
        Expect.failure("deleting a topic without right", TopicAuthorizationException.class,
                () -> admin.deleteTopics(List.of(read)).all().get());
        Expect.failure("adding partitions without right", TopicAuthorizationException.class,
                () -> admin.createPartitions(Map.of(read, NewPartitions.increaseTo(9))).all().get());
        Expect.failure("describing a topic without right", TopicAuthorizationException.class,
                () -> Calls.partitions(admin, closed));
    }

    private static void delete(Admin admin, String own) throws Exception {
        admin.deleteTopics(List.of(own)).all().get();
        Expect.eventually("a list without the deleted topic", () -> {}, () -> !names(admin).contains(own));
    }

    private static Set<String> names(Admin admin) {
        try {
            return admin.listTopics().names().get();
        } catch (Exception failure) {
            throw new AssertionError("expected a list of topics, got " + failure, failure);
        }
    }
}
