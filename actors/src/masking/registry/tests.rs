//! The client against a registry on loopback.

use std::time::Instant;

use serde_json::{Value, json};
use sluicegate_loadtest::registry::{Registered, TestRegistry, Trouble};

use super::*;
use crate::masking::schema::frame::Framed;

const RECORD: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"string"}]}"#;

fn client(registry: &TestRegistry) -> Registry {
    with(registry, Credentials::None, Duration::from_secs(30))
}

fn with(registry: &TestRegistry, credentials: Credentials, timeout: Duration) -> Registry {
    let url = format!("{}/", registry.url());
    let plain_http = PlainHttp::LoopbackOnly;
    Registry::new(RegistryConfig { url, credentials, authorities: None, plain_http, timeout })
        .unwrap()
}

fn plain(registry: &TestRegistry, kind: &str, schema: &str) -> Registered {
    registry.register("s", kind, schema, &json!([]))
}

#[tokio::test]
async fn schemas_are_fetched_once_by_id_and_by_guid() {
    let registry = TestRegistry::start().unwrap();
    let avro = plain(&registry, "AVRO", RECORD);
    let protobuf = plain(&registry, "PROTOBUF", "syntax = \"proto3\"; message M { string s = 1; }");
    let json = plain(&registry, "JSON", "{}");
    let client = client(&registry);
    for (registered, format) in
        [(avro, Format::Avro), (protobuf, Format::Protobuf), (json, Format::Json)]
    {
        for id in [SchemaId::Number(registered.id), SchemaId::Guid(registered.guid)] {
            assert!(client.cached(id).is_none());
            let schema = client.fetch(id).await.unwrap();
            assert_eq!(schema.format(), format);
            assert!(Arc::ptr_eq(&client.cached(id).unwrap(), &schema));
            assert!(Arc::ptr_eq(&client.fetch(id).await.unwrap(), &schema));
        }
    }
    let requests = registry.requests();
    assert_eq!(requests.len(), 6, "{requests:?}");
    assert_eq!(requests[0], "/schemas/ids/1");
    assert_eq!(requests[1], "/schemas/guids/5ce3a000-0000-4000-8000-000000000001");
}

#[tokio::test]
async fn a_hundred_who_ask_are_one_request() {
    let registry = TestRegistry::start().unwrap();
    let known = plain(&registry, "AVRO", RECORD).id;
    registry.trouble(Trouble { delay: Duration::from_millis(200), ..Trouble::default() });
    let client = Arc::new(client(&registry));
    for (id, is_there) in [(known, true), (999, false)] {
        let asks: Vec<_> = (0..100)
            .map(|_| {
                let client = Arc::clone(&client);
                tokio::spawn(async move { client.fetch(SchemaId::Number(id)).await })
            })
            .collect();
        for ask in asks {
            assert_eq!(ask.await.unwrap().is_ok(), is_there);
        }
        assert_eq!(registry.requests(), [format!("/schemas/ids/{id}")]);
        // Told again without a request.
        assert_eq!(client.fetch(SchemaId::Number(id)).await.is_ok(), is_there);
        assert!(registry.requests().is_empty());
    }
}

#[tokio::test]
async fn who_gives_up_takes_nobody_along() {
    let registry = TestRegistry::start().unwrap();
    let id = SchemaId::Number(plain(&registry, "AVRO", RECORD).id);
    registry.trouble(Trouble { delay: Duration::from_millis(300), ..Trouble::default() });
    let client = Arc::new(client(&registry));
    let first = {
        let client = Arc::clone(&client);
        tokio::spawn(async move { client.fetch(id).await })
    };
    // The first is under way when the second joins it.
    while registry.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    let second = {
        let client = Arc::clone(&client);
        tokio::spawn(async move { client.fetch(id).await })
    };
    tokio::task::yield_now().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert!(second.await.unwrap().is_ok());
}

#[tokio::test]
async fn other_schemas_are_bounded() {
    let registry = TestRegistry::start().unwrap();
    registry.trouble(Trouble { delay: Duration::from_secs(20), ..Trouble::default() });
    let client = Arc::new(client(&registry));
    let asks: Vec<_> = (0..64_u32)
        .map(|id| {
            let client = Arc::clone(&client);
            tokio::spawn(async move { client.fetch(SchemaId::Number(id)).await })
        })
        .collect();
    let mut requests = 0;
    while requests < 64 {
        requests += registry.requests().len();
        tokio::task::yield_now().await;
    }
    let error = client.fetch(SchemaId::Number(64)).await.unwrap_err();
    assert_eq!(error.to_string(), "64 other schemas are being fetched");
    // Those who give up leave room.
    asks.iter().for_each(tokio::task::JoinHandle::abort);
    for ask in asks {
        assert!(ask.await.unwrap_err().is_cancelled());
    }
    registry.trouble(Trouble::default());
    let error = client.fetch(SchemaId::Number(64)).await.unwrap_err();
    assert_eq!(error.to_string(), "the registry has no schema 64");
}

#[tokio::test]
async fn references_are_fetched_in_order() {
    let registry = TestRegistry::start().unwrap();
    let refer = |name: &str, subject: &str| json!({"name": name, "subject": subject, "version": 1});
    let city = r#"{"type":"enum","name":"n.City","symbols":["A","B"]}"#;
    let address = r#"{"type":"record","name":"n.Address","fields":[{"name":"c","type":"City"}]}"#;
    let person = r#"{"type":"record","name":"n.Person","fields":[
        {"name":"a","type":"Address"},{"name":"c","type":"City"}]}"#;
    let city_of = json!([refer("n.City", "city/a b")]);
    let both = json!([refer("n.City", "city/a b"), refer("n.Address", "address")]);
    let mut ids = Vec::new();
    for (subject, schema, references) in
        [("city/a b", city, &json!([])), ("address", address, &city_of), ("person", person, &both)]
    {
        ids.push(registry.register(subject, "AVRO", schema, references).id);
    }
    let client = client(&registry);
    let schema = client.fetch(SchemaId::Number(ids[2])).await.unwrap();
    assert_eq!(schema.format(), Format::Avro);
    let requests = registry.requests();
    assert_eq!(
        requests,
        ["/schemas/ids/3", "/subjects/city%2Fa%20b/versions/1", "/subjects/address/versions/1"]
    );

    let file = |body: &str| format!("syntax = \"proto3\"; {body}");
    let inner = file("message I { string s = 1; }");
    let outer = file("import \"i.proto\"; message O { I i = 1; }");
    let import = json!([refer("i.proto", "i")]);
    assert_eq!(registry.register("i", "PROTOBUF", &inner, &json!([])).version, 1);
    let outer = registry.register("o", "PROTOBUF", &outer, &import);
    assert!(client.fetch(SchemaId::Number(outer.id)).await.is_ok());

    let number = r#"{"type":"integer"}"#;
    assert_eq!(registry.register("n", "JSON", number, &json!([])).version, 1);
    let json_schema =
        r#"{"$id":"https://schemas.example/a.json","properties":{"n":{"$ref":"n.json"}}}"#;
    let json_schema = registry.register("j", "JSON", json_schema, &json!([refer("n.json", "n")]));
    let schema = client.fetch(SchemaId::Number(json_schema.id)).await.unwrap();
    let checked = |document: &str| {
        let value = [&[0, 0, 0, 0, 0], document.as_bytes()].concat();
        schema.check(&Framed::read(&value, None).unwrap())
    };
    assert_eq!(checked(r#"{"n":1}"#), Ok(()));
    assert!(checked(r#"{"n":"one"}"#).unwrap_err().starts_with("/n: "));
}

#[tokio::test]
async fn references_are_bounded() {
    let registry = TestRegistry::start().unwrap();
    let enumeration = |name: &str| format!(r#"{{"type":"enum","name":"{name}","symbols":["A"]}}"#);
    let refer = |subject: &str| json!({"name": subject, "subject": subject, "version": 1});
    let add = |subject: &str, references: Value| {
        registry.register(subject, "AVRO", &enumeration(subject), &references).id
    };
    for depth in 0..20 {
        let below = if depth == 0 { json!([]) } else { json!([refer(&format!("d{}", depth - 1))]) };
        assert!(add(&format!("d{depth}"), below) > 0);
    }
    let wide: Vec<Value> = (0..101).map(|index| refer(&format!("w{index}"))).collect();
    for index in 0..101 {
        assert!(add(&format!("w{index}"), json!([])) > 0);
    }
    let id = |subject: &str, references: Value| SchemaId::Number(add(subject, references));
    let text = |name: &str| registry.register(name, "PROTOBUF", "syntax = \"proto3\";", &json!([]));
    assert_eq!((text("p1").version, text("p2").version), (1, 1));
    let ambiguous = registry.register(
        "p",
        "PROTOBUF",
        "syntax = \"proto3\"; import \"x.proto\";",
        &json!([
            {"name": "x.proto", "subject": "p1", "version": 1},
            {"name": "x.proto", "subject": "p2", "version": 1},
        ]),
    );
    let rows = [
        (id("e1", json!([refer("d15")])), None),
        (id("e2", json!([refer("d16")])), Some("the schema refers to others more than 16 deep")),
        (id("e3", json!(wide[..100])), None),
        (id("e4", json!(wide)), Some("the schema refers to more than 100 others")),
        (id("e5", json!([refer("gone")])), Some("the registry has no version 1 of subject `gone`")),
        (
            SchemaId::Number(ambiguous.id),
            Some("the schema refers to two different ones by the name `x.proto`"),
        ),
        // Each refers to the other: both are read once, and then neither defines what it should.
        (id("loop", json!([refer("pool")])), None),
    ];
    assert!(add("pool", json!([refer("loop")])) > 0);
    let client = client(&registry);
    for (id, expected) in rows {
        let found = client.fetch(id).await.err().map(|error| error.to_string());
        if expected.is_some() || !matches!(id, SchemaId::Number(number) if number > 126) {
            assert_eq!(found.as_deref(), expected, "{id}");
        }
    }
}

#[tokio::test]
async fn failures_have_their_cause() {
    let registry = TestRegistry::start().unwrap();
    let id = SchemaId::Number(plain(&registry, "AVRO", RECORD).id);
    let long = "x".repeat(answers::ANSWER_BYTES_MAX + 1);
    let large = json!({"schema": "x".repeat(TEXT_BYTES_MAX + 1)}).to_string();
    let rows = [
        (
            500,
            "{}",
            "the registry answered 500 when asked for schema 1; redirects are not followed",
        ),
        (302, "", "the registry answered 302 when asked for schema 1; redirects are not followed"),
        (404, "{\"error_code\":40403}", "the registry has no schema 1"),
        (403, "", "the registry refuses the credentials of the configuration: it answered 403"),
        (
            200,
            "",
            "the answer for schema 1 is no schema: EOF while parsing a value at line 1 column 0",
        ),
        (
            200,
            "{}",
            "the answer for schema 1 is no schema: missing field `schema` at line 1 column 2",
        ),
        (200, &*long, "the answer for schema 1 is longer than 2097152 bytes"),
        (200, &*large, "the texts of the schema have 1048577 bytes, and 1048576 are the most"),
        (200, "{\"schema\":\"x\"}", "no schema of Avro: expected value at line 1 column 1"),
        (
            200,
            "{\"schema\":\"x\",\"schemaType\":\"THRIFT\"}",
            "the schema's type `THRIFT` is none of AVRO, JSON and PROTOBUF",
        ),
    ];
    for (status, body, expected) in rows {
        let answer = Some((status, body.to_owned()));
        registry.trouble(Trouble { answer, ..Trouble::default() });
        let error = client(&registry).fetch(id).await.unwrap_err().to_string();
        // A field's name in backticks is quoted within a reason.
        assert_eq!(error.replace('?', "`"), expected, "{status}");
    }
    registry.trouble(Trouble { delay: Duration::from_secs(20), ..Trouble::default() });
    let hurried = with(&registry, Credentials::None, Duration::from_millis(100));
    let begun = Instant::now();
    let error = hurried.fetch(id).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(10));
    let timed_out = RegistryError::TimedOut { limit_ms: 100 };
    assert!(error == timed_out || matches!(error, RegistryError::Unreachable { .. }), "{error}");
    let url = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let gone = Registry::new(RegistryConfig {
        url,
        credentials: Credentials::None,
        authorities: None,
        plain_http: PlainHttp::LoopbackOnly,
        timeout: FETCH_TIMEOUT,
    });
    let error = gone.unwrap().fetch(id).await.unwrap_err().to_string();
    assert!(error.starts_with("no answer from the registry: "), "{error}");
}

#[tokio::test]
async fn credentials_are_shown() {
    let registry = TestRegistry::start().unwrap();
    let id = SchemaId::Number(plain(&registry, "AVRO", RECORD).id);
    let timeout = Duration::from_secs(30);
    let basic = Credentials::Basic { user: "ann".to_owned(), password: "a pass".into() };
    for (credentials, expected) in
        [(basic, "Basic YW5uOmEgcGFzcw=="), (Credentials::Bearer("a.b.c".into()), "Bearer a.b.c")]
    {
        let authorization = Some(expected.to_owned());
        registry.trouble(Trouble { authorization, ..Trouble::default() });
        let shown = format!("{:?}", with(&registry, credentials.clone(), timeout));
        assert!(!shown.contains("pass") && !shown.contains("a.b.c"), "{shown}");
        assert!(with(&registry, credentials, timeout).fetch(id).await.is_ok());
        let error = client(&registry).fetch(id).await.unwrap_err();
        assert_eq!(error, RegistryError::Credentials { status: 401 });
    }
}

#[test]
fn addresses_are_checked() {
    for url in ["x", "ftp://example.com", "http://user:word@127.0.0.1", "http://192.0.2.1"] {
        let config = RegistryConfig {
            url: url.to_owned(),
            credentials: Credentials::None,
            authorities: None,
            plain_http: PlainHttp::LoopbackOnly,
            timeout: FETCH_TIMEOUT,
        };
        assert!(Registry::new(config).is_err(), "{url}");
    }
}
