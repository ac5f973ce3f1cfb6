//! Bounds of the protocol code, each with its reason. Peers on both sides are untrusted.

/// The largest frame that a position here can address, the length prefix included: Kafka's own
/// bound on a size field.
pub const FRAME_SIZE_BYTES_MAX: usize = 0x7fff_ffff;

/// A client id, in bytes. Kafka sets no bound; a name in logs and entries needs one.
pub const CLIENT_ID_SIZE_BYTES_MAX: usize = 256;

/// Topics named by one request: ten times what the largest consumer known to us subscribes to.
pub const REQUEST_TOPICS_MAX: usize = 10_000;

/// Partitions named by one request.
pub const REQUEST_PARTITIONS_MAX: usize = 50_000;

/// Elements of all arrays of one request, whatever they mean. At about 10 ns each, a shard walks
/// them within its turn.
pub const REQUEST_ELEMENTS_MAX: usize = 200_000;

/// Topics in one response. A listing of a whole cluster names more than one request would.
pub const RESPONSE_TOPICS_MAX: usize = 100_000;

/// Partitions in one response: the largest clusters in the field hold about 200,000.
pub const RESPONSE_PARTITIONS_MAX: usize = 500_000;

/// Elements of all arrays of one response (replicas and aborted transactions are the many).
pub const RESPONSE_ELEMENTS_MAX: usize = 2_000_000;

/// Groups, coordinator keys, endpoints, members: of each kind, in one message.
pub const NAMED_ELEMENTS_MAX: usize = 10_000;

/// What one message may make us remember, in bytes per byte of its frame. A partition given as a
/// bare index is the worst honest case: 4 bytes become 48.
pub const FOUND_BYTES_PER_FRAME_BYTE_MAX: usize = 16;

/// What any message may make us remember, in bytes, beside its share by size.
pub const FOUND_BYTES_FREE: usize = 64 * 1024;

/// Arrays and tag sections within one another. The deepest table has 6.
pub const NESTING_MAX: usize = 12;

/// Untouched bytes between two edits that are copied rather than kept as a piece of their own:
/// writing one more piece costs the kernel about as much as copying this.
pub const ROPE_RUN_COPIED_BYTES_MAX: usize = 512;

/// A SASL token from a client, in bytes: a JWT of 16 KiB and what is around it.
pub const SASL_TOKEN_SIZE_BYTES_MAX: usize = 17 * 1024;

/// A JWT, in bytes.
pub const JWT_SIZE_BYTES_MAX: usize = 16 * 1024;

/// An authorization id or user name in a SASL token, in bytes.
pub const SASL_NAME_SIZE_BYTES_MAX: usize = 256;

/// Extensions in an OAUTHBEARER message.
pub const SASL_EXTENSIONS_MAX: usize = 16;

/// Elements of each kind for which a cleared [`Found`](super::found::Found) keeps memory: about 1
/// MiB in all.
pub const FOUND_KEPT_ELEMENTS_MAX: usize = 4_096;
