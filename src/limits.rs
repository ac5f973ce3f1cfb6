//! Every bound of the data plane: name with unit, reason, source.
//!
//! A queue, buffer, loop, wait or retry without a line here is a defect. Actors keep theirs beside their state
//! machines (`sluicegate_actors`), because they know no executor.

use std::time::Duration;

/// A frame before login: ApiVersions, SaslHandshake and SaslAuthenticate only. A JWT is at most 16 KiB; Kafka's own
/// `sasl.server.max.receive.size` is 512 KiB, ours is stricter (CVE-2022-34917).
pub const FRAME_BEFORE_LOGIN_BYTES_MAX: usize = 64 * 1024;

/// A frame after login: Kafka's `socket.request.max.bytes`.
pub const FRAME_BYTES_MAX: usize = 100 * 1024 * 1024;

/// The least bytes that a request frame can have: key, version and correlation id.
pub const FRAME_BYTES_MIN: usize = 8;

/// Bytes asked of a socket at once: the size of the bare relay's buffer, which is the floor that the gateway is held
/// against (`docs/BENCHMARKS.md`).
pub const READ_BYTES: usize = 64 * 1024;

/// Plaintext that is encrypted at once, and leaves in one send: four whole records.
pub const TLS_WRITE_BYTES: usize = 64 * 1024;

/// What TLS adds to it at most: to each record its header, nonce and tag, and a key update before them.
pub const TLS_WRITE_OVERHEAD_BYTES: usize = 512;

/// A TLS record on the wire: RFC 5246 §6.2.3, the greater one of both versions.
pub const TLS_RECORD_BYTES_MAX: usize = 5 + 16 * 1024 + 2048;

/// Ciphertext that waits for the rest of its record or handshake message, so the most that a client can leave here before
/// its handshake is done. A ClientHello with post-quantum key shares has less than 2 KiB; clients show no certificates.
pub const TLS_HELD_BYTES_MAX: usize = 32 * 1024;

/// Reads that bring no plaintext before other connections have their turn. Guess, unmeasured.
pub const TLS_READS_MAX: usize = 8;

/// Buffers up to this size go back to the shard's pool; larger ones go back to the allocator, and are zeroed anew each time. A
/// consumer with Kafka's defaults asks for 1 MiB of each partition, so for 4 MiB and some more of four: at 4 MiB zeroing was 11 % of
/// what masking their answers cost.
pub const POOLED_BUFFER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes that one shard's pool keeps for reuse. Guess, unmeasured.
pub const POOL_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of frames that one shard admits at once, half-read ones included: `faults.md` F17.
pub const SHARD_FRAME_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Requests of one connection that wait for an answer; the socket is not read beyond it (`faults.md` §4.5).
pub const IN_FLIGHT_REQUESTS_MAX: usize = 64;

/// Bytes of requests of one connection that wait for an answer. One larger frame is let through alone.
pub const IN_FLIGHT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// From accept to a finished login (`faults.md` §4.5).
pub const LOGIN_MS_MAX: Duration = Duration::from_secs(10);

/// A failed login is answered after it, so that a client that tries again at once does not spin: Kafka's
/// `connection.failed.authentication.delay.ms`.
pub const LOGIN_FAILED_DELAY: Duration = Duration::from_millis(100);

/// SASL rounds of one login; OAUTHBEARER needs two, PLAIN one.
pub const SASL_ROUNDS_MAX: u32 = 4;

/// From the first byte of a frame to its last (`faults.md` F15).
pub const FRAME_MS_MAX: Duration = Duration::from_secs(30);

/// A connection without any request is closed after it: Kafka's `connections.max.idle.ms`.
pub const IDLE_MS_MAX: Duration = Duration::from_secs(600);

/// A connection on which nothing comes is asked for a sign of life after it, and then every interval; with the bound on
/// what is unacknowledged a half-open one ends within 45 s (`faults.md` F13).
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);

/// Time between two such questions.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// A peer that acknowledges nothing, or takes nothing of what waits for it, is let go after it (TCP_USER_TIMEOUT).
pub const UNACKNOWLEDGED_MS_MAX: Duration = Duration::from_secs(30);

/// Time between two connects of one shard to a broker that fails: at most 8 a second, so that with the gateway's own
/// looks at the cluster no more than 10 come from one core (`faults.md` F6).
pub const CONNECT_REST: Duration = Duration::from_millis(125);

/// A broker that failed and was left alone for this long is not remembered.
pub const CONNECT_MEMORY: Duration = Duration::from_secs(60);

/// With `sync: always`, what waits for the disk is refused after it (`faults.md` F5).
pub const RECORD_SYNC_MS_MAX: Duration = Duration::from_secs(2);

/// Connections that one port accepts before it lets the rest of its shard have a turn.
pub const ACCEPTS_PER_TURN: u32 = 32;

/// That turn: what came in meanwhile waits in the kernel's queue of 1,024.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(1);

/// Client addresses that a listener with limits per address keeps in mind, some 100 bytes each.
pub const CLIENT_ADDRESSES_MAX: usize = 65_536;

/// Producer ids whose users are known, of all clusters together, some 100 bytes each.
pub const PRODUCER_IDS_MAX: usize = 200_000;

/// Producer ids that one connection remembers as its own.
pub const PRODUCER_IDS_PER_CONNECTION_MAX: usize = 64;

/// Members of groups that subscribe by a regular expression and whose last words are kept, of all clusters together.
pub const PATTERN_MEMBERS_MAX: usize = 10_000;

/// Bytes of a subscription by a regular expression: the expression, and the names beside it.
pub const PATTERN_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a compiled regular expression; it lives for one request.
pub const PATTERN_PROGRAM_BYTES_MAX: usize = 256 * 1024;

/// Share sessions that one connection may have at a time.
pub const SHARE_SESSIONS_MAX: usize = 16;

/// Partitions of one share session.
pub const SHARE_PARTITIONS_MAX: usize = 10_000;

/// Connecting and logging in to a broker.
pub const UPSTREAM_LOGIN_MS_MAX: Duration = Duration::from_secs(10);

/// One question to the control plane: a login or an unknown topic id.
pub const ASK_MS_MAX: Duration = Duration::from_secs(10);

/// Questions of one shard that wait for the control plane. Ractor's mailboxes are unbounded; this is their bound.
pub const ASKS_IN_FLIGHT_MAX: usize = 1024;

/// Connections of the admin API; its callers are people and their scripts.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;

/// Connections of one shard, those before login included (`faults.md` §4.5).
pub const CONNECTIONS_PER_SHARD_MAX: usize = 16_384;

/// Files that may be open: a connection takes two, and a few hundred are the least that makes sense.
pub const OPEN_FILES_MIN: u64 = 1024;

/// Locked memory that one shard's rings take. glommio asks for 10 MiB of registered buffers where it may lock them and
/// does without where it may not; its rings of 128 entries take far less than this. Guess, unmeasured.
pub const MEMLOCK_BYTES_PER_SHARD: u64 = 512 * 1024;

/// Accepted connections on their way to a shard.
pub const ACCEPTED_QUEUE_MAX: usize = 1024;

/// Time between two looks at a cluster's brokers and topics when nobody asks. Kafka clients look every 5 minutes, and
/// at every error; the gateway learns new ids when it is asked for an unknown one.
pub const CLUSTER_REFRESH: Duration = Duration::from_secs(5);

/// Time between two looks at a cluster when unknown ids are asked for: a client with random ids must not make the
/// gateway hammer the broker.
pub const CLUSTER_REFRESH_ASKED_MIN: Duration = Duration::from_millis(250);

/// A response to the gateway's own requests.
pub const CLUSTER_ANSWER_MS_MAX: Duration = Duration::from_secs(5);

/// Longest wait of a held fetch; Kafka clients ask for 500 ms, and none may hold a slot for longer than its own
/// request timeout (30 s by default).
pub const HOLD_MS_MAX: Duration = Duration::from_secs(30);

/// Time between two looks at a held fetch for a grant: at most this much later it is answered.
pub const HOLD_LOOK: Duration = Duration::from_millis(100);

/// Questions to approvers of one request, one for each action and set of rules; what is beyond them is asked when the
/// client comes again.
pub const HOLD_QUESTIONS_MAX: usize = 16;

/// Resources of one question: with Kafka's longest names they stay below the 8 KiB of a ticket, which people must read.
pub const HOLD_RESOURCES_MAX: usize = 24;

/// Schemas that the records of one frame may make the gateway ask for, and those that it keeps at hand meanwhile; values of
/// further ones are withheld. A guess: a topic has a few.
pub const SCHEMAS_PER_FRAME_MAX: usize = 64;

/// How long the records of one frame wait for schemas, together; values of further ones are withheld. The last look-up may
/// begin just before, so a frame waits for at most this and one [`ASK_MS_MAX`].
pub const SCHEMAS_WAIT: Duration = Duration::from_secs(5);

/// Frames of one shard that wait for schemas; values in further ones are withheld where theirs are not known.
pub const SCHEMA_ASKS_IN_FLIGHT_MAX: usize = 256;

/// Held requests of one shard that wait for the approval desk; further ones get no ticket, and are held all the same.
pub const APPROVAL_ASKS_IN_FLIGHT_MAX: usize = 64;

/// One call of the admin API with its connection; callers connect anew for each.
pub const ADMIN_CONNECTION_MS_MAX: Duration = Duration::from_secs(15);

/// What a client is told of its tickets is cut to it.
pub const HOLD_TEXT_BYTES_MAX: usize = 512;

/// Producers and partitions of one connection that wait for a refused batch to come again: some 100 bytes each. Kafka's
/// producers have one id, so this is partitions of one broker.
pub const HELD_SEQUENCES_MAX: usize = 16_384;

/// Plans (what is masked and recorded) that one connection keeps, one per topic; then it starts anew.
pub const TOPIC_PLANS_MAX: usize = 1_024;

/// For how long who masks only yields to others that are ready; then it waits for a moment, so that the shard looks at its sockets.
/// While tasks yield to each other glommio looks every 100 ms: a request beside a storm of bombs waited for 1.7 s, measured.
pub const SOCKETS_UNSEEN_MAX: Duration = Duration::from_millis(2);

/// The moment for which it waits then.
pub const SOCKETS_LOOK: Duration = Duration::from_micros(10);

/// Partitions that one shard masks at a time, each with buffers of its own, which are kept for the next; others wait. With a
/// batch's budget of 32 MiB that is 128 MiB of decompressed bytes (`faults.md` F18).
pub const MASK_BUFFERS_MAX: u64 = 4;

/// The largest buffer for masked records that is kept: four times what a consumer asks of a partition by default.
pub const MASKED_BUFFER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Buffers for masked records that one shard keeps for the next, each of at most [`MASKED_BUFFER_BYTES_MAX`]. A guess: a response has
/// one for each of its partitions, and is delivered before the next one of its connection is masked.
pub const MASKED_BUFFERS_KEPT_MAX: usize = 8;

/// A response that is larger is forwarded while it arrives, where it may be.
pub const STREAM_BYTES_MIN: usize = READ_BYTES;

/// The least bytes of a streamed response that are forwarded at once, but for its last, and the room for them. Measured: see
/// `docs/BENCHMARKS.md`.
pub const STREAM_PIECE_BYTES: usize = 256 * 1024;

/// Records that are still to come of one partition go from socket to socket where they are more. Guess, unmeasured.
pub const SPLICE_BYTES_MIN: usize = 128 * 1024;

/// Batches that are smaller are copied: each costs two system calls to be looked at where nothing is copied. At this size
/// that still costs a tenth less than copying (`docs/BENCHMARKS.md`).
pub const SPLICE_BATCH_BYTES_MIN: usize = 4 * 1024;

/// Headers of batches that are read in one piece of them, which takes some 0.2 ms.
pub const SPLICE_HEADERS_MAX: usize = 256;

/// Bytes that are read between the records of two partitions: what tells of the next one, and as few records as may be.
pub const SPLICE_BETWEEN_BYTES: usize = 4 * 1024;

/// The size of a pipe: the most that Linux gives without privileges (`fs.pipe-max-size`).
pub const PIPE_BYTES: usize = 1024 * 1024;

/// Pairs of pipes that one shard lends at a time, each of which holds up to [`PIPE_BYTES`] of the kernel's memory and seven
/// descriptors, those of the sockets among them; responses beyond them are copied. A user without privileges may have 32
/// pairs (`fs.pipe-user-pages-soft`).
pub const CONDUITS_MAX: usize = 8;

/// Pairs of empty pipes that one shard keeps for the next response.
pub const CONDUITS_KEPT_MAX: usize = 4;

/// Bytes that wait for a client's socket in the place of those in the pipe: few, because they are copied.
pub const CONDUIT_WAIT_BYTES: usize = 4 * 1024;

/// What one shard keeps of answers that were carried, for the next: the names and partitions that a request asked for.
pub const ASKED_KEPT_MAX: usize = 64;

/// Walks over streamed responses that one shard keeps for the next, some 10 KiB each.
pub const STREAMS_KEPT_MAX: usize = 16;

/// Pieces of a rewritten frame are copied together up to this size, so that one send carries them; what is larger is sent from
/// where it lies: a batch of 16 KiB must not become a send or two of its own. Guess, unmeasured.
pub const COALESCE_BYTES_MAX: usize = 64 * 1024;

/// Peer input that appears in an error text is cut to it.
pub const QUOTED_BYTES_MAX: usize = 64;

/// The demo's broker is up and has its sample records within it; it takes some 100 ms. Guess, unmeasured.
pub const DEMO_BROKER_MS_MAX: Duration = Duration::from_secs(10);

/// How often the demo's broker forgets which requests it had, some 100 bytes each.
pub const DEMO_FORGET_EVERY: Duration = Duration::from_secs(1);

/// Life of the demo's tokens: longer than anybody looks at it, shorter than a day.
pub const DEMO_TOKEN_MS: i64 = 12 * 60 * 60 * 1_000;

const _: () = assert!(FRAME_BEFORE_LOGIN_BYTES_MAX <= FRAME_BYTES_MAX);
const _: () = assert!(LOGIN_FAILED_DELAY.as_millis() < LOGIN_MS_MAX.as_millis());
const _: () = assert!(KEEPALIVE_IDLE.as_millis() < UNACKNOWLEDGED_MS_MAX.as_millis());
const _: () = assert!(READ_BYTES <= POOLED_BUFFER_BYTES_MAX);
const _: () = assert!(FRAME_BYTES_MAX <= SHARD_FRAME_BYTES_MAX);
const _: () = assert!(TLS_HELD_BYTES_MAX >= TLS_RECORD_BYTES_MAX);
const _: () = assert!(TLS_HELD_BYTES_MAX + TLS_RECORD_BYTES_MAX <= READ_BYTES);
