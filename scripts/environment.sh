# Where everything lives that is built or fetched: outside of the clone, shared by all clones of one user.
# Sourced by the other scripts; each variable may be set beforehand.
export SLUICEGATE_CACHE="${SLUICEGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sluicegate}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$SLUICEGATE_CACHE/target}"
# The end-to-end tests run where these are set: real Kafka (its jars), an older one, and the two families of test clients.
export SLUICEGATE_KAFKA_HOME="${SLUICEGATE_KAFKA_HOME:-$SLUICEGATE_CACHE/kafka-4.3.1}"
export SLUICEGATE_OLDER_KAFKA_HOME="${SLUICEGATE_OLDER_KAFKA_HOME:-$SLUICEGATE_CACHE/kafka-3.4.1}"
export SLUICEGATE_CLIENTS_HOME="${SLUICEGATE_CLIENTS_HOME:-$SLUICEGATE_CACHE/clients}"
