import java.util.List;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupListing;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** Calls that this release has under other names than others. */
final class Calls {
    private Calls() {}

    /** How many partitions a topic has; none where it does not exist yet. */
    static int partitions(Admin admin, String topic) {
        try {
            return admin.describeTopics(List.of(topic)).all().get().get(topic).partitions().size();
        } catch (ExecutionException failure) {
            if (failure.getCause() instanceof UnknownTopicOrPartitionException) {
                return 0;
            }
            throw (ApiException) failure.getCause();
        } catch (InterruptedException failure) {
            throw new AssertionError(failure);
        }
    }

    static Set<String> groups(Admin admin) throws Exception {
        return admin.listConsumerGroups().all().get().stream()
                .map(ConsumerGroupListing::groupId).collect(Collectors.toSet());
    }

    static String state(Admin admin, String group) throws Exception {
        return admin.describeConsumerGroups(List.of(group)).all().get().get(group).state().toString();
    }
}
