//! The configuration as rows: what is accepted, and the text of what is not.

use std::path::Path;

use super::*;

const GOOD: &str = r#"
data.dir: data
shards: 1
clusters:
  main:
    bootstrap.servers: [127.0.0.1:19092, "[::1]:19093"]
    credentials:
      - groups: [etl]
        security.protocol: SASL_PLAINTEXT
        sasl.mechanism: PLAIN
        sasl.username: etl
        sasl.password: ${file:secret}
      - security.protocol: PLAINTEXT
listeners:
  kafka:
    cluster: main
    bind: 127.0.0.1:9092
    advertised.host: localhost
    broker.ports: 9093-9192
    security.protocol: SASL_PLAINTEXT
    sasl.enabled.mechanisms: [OAUTHBEARER, PLAIN]
    issuers: [acme]
issuers:
  acme:
    issuer: https://idp.example
    audience: [kafka]
    jwks: jwks.json
    algorithms: [ES256]
policy:
  files: ["*.cedar"]
"#;

fn load(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "s3cret\n").unwrap();
    std::fs::write(folder.path().join("a.cedar"), "").unwrap();
    let path = folder.path().join("sluicegate.yaml");
    std::fs::write(&path, text).unwrap();
    Config::load(&path)
        .map_err(|error| error.to_string().replace(&folder.path().display().to_string(), "DIR"))
}

fn check(change: (&str, &str), expected: &str) {
    assert!(GOOD.contains(change.0), "`{}` is not in the good configuration", change.0);
    let error = load(&GOOD.replacen(change.0, change.1, 1)).expect_err(expected);
    assert_eq!(error, expected);
}

#[test]
fn the_good_one_is_accepted() {
    let config = load(GOOD).unwrap();
    let cluster = &config.clusters["main"];
    assert_eq!(cluster.bootstrap_servers[1], HostPort { host: "::1".to_owned(), port: 19093 });
    let BrokerLogin::SaslPlain { username, password } = &cluster.credentials[0].login else {
        panic!("the first login is SASL/PLAIN");
    };
    assert_eq!(username, "etl");
    assert_eq!(secrecy::ExposeSecret::expose_secret(password), "s3cret");
    assert_eq!(config.listeners[0].broker_ports.port(0), Some(9093));
    assert_eq!(config.listeners[0].broker_ports.port(99), Some(9192));
    assert_eq!(config.listeners[0].broker_ports.port(100), None);
    assert_eq!(config.listeners[0].broker_ports.port(-1), None);
    assert_eq!(config.listeners[0].connections, ConnectionLimits::default());
    assert!(!config.diagnostics.poison_buffers);
    assert_eq!(config.recording.payload, RecordLevel::Delivered);
    assert_eq!(config.shutdown_timeout, Duration::from_secs(10));
}

#[test]
fn connections_are_limited_as_written() {
    let limits = "issuers: [acme]\n    max.connections.per.ip: 100\n    \
                  max.connection.creation.rate: 500\n    max.connection.creation.rate.per.ip: 50\n";
    let config = load(&GOOD.replacen("issuers: [acme]\n", limits, 1)).unwrap();
    let ConnectionLimits { per_address, per_second, per_address_and_second } =
        config.listeners[0].connections;
    let numbers = [per_address, per_second, per_address_and_second];
    assert_eq!(numbers.map(|number| number.map(NonZeroU32::get)), [Some(100), Some(500), Some(50)]);
}

#[test]
fn secrets_are_not_printed() {
    assert!(!format!("{:?}", load(GOOD).unwrap()).contains("s3cret"));
}

#[test]
fn what_is_wrong_is_named() {
    check(
        ("advertised.host", "advertized.host"),
        "DIR/sluicegate.yaml:18: unknown key `advertized.host`; did you mean `advertised.host`?",
    );
    check(
        ("cluster: main\n", "cluster: mian\n"),
        "DIR/sluicegate.yaml: `listeners.kafka.cluster`: `mian` is not configured; there are: main",
    );
    check(
        ("shards: 1", "shards: 0"),
        &format!(
            "DIR/sluicegate.yaml: `shards`: 0: each shard needs a core, and there are {}; write `auto`",
            std::thread::available_parallelism().unwrap()
        ),
    );
    check(
        ("9093-9192", "9192-9093"),
        "DIR/sluicegate.yaml: `listeners.kafka.broker.ports`: `9192-9093`: write `9093-9192`, or a \
         map {1001: 9093}",
    );
    check(
        ("[ES256]", "[HS256]"),
        "DIR/sluicegate.yaml: `issuers.acme.algorithms`: `HS256` is not one of RS256, RS384, \
         RS512, PS256, PS384, PS512, ES256, ES384, EdDSA",
    );
    check(
        ("audience: [kafka]", "audience: []"),
        "DIR/sluicegate.yaml: `issuers.acme.audience`: needs at least one name",
    );
    check(
        ("${file:secret}", "${file:absent}"),
        "DIR/sluicegate.yaml: `clusters.main.credentials[0].sasl.password`: cannot read \
         `DIR/absent`: No such file or directory (os error 2)",
    );
    check(
        ("      - security.protocol: PLAINTEXT\n", ""),
        "DIR/sluicegate.yaml: `clusters.main.credentials`: the last one must have no `groups`: it \
         serves everyone else and the gateway itself",
    );
    check(
        ("issuers: [acme]\n", "issuers: [acme]\n    max.connections.per.ip: 0\n"),
        "DIR/sluicegate.yaml: `listeners.kafka.max.connections.per.ip`: 0 would let nobody in; leave \
         it out for no limit",
    );
    check(
        ("*.cedar", "*.ceder"),
        "DIR/sluicegate.yaml: `policy.files`: `*.ceder` matches no file in `DIR/*.ceder`",
    );
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Path::new("/nonexistent/x.yaml")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read `/nonexistent/x.yaml`"), "{error}");
}
