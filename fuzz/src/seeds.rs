//! Messages of every API and version, made from the field tables: what the corpus begins with, and what its test adds to it.

use bytes::Bytes;
use sluicegate::kafka::batch::Codec;
use sluicegate::kafka::batch::codec::Codecs;
use sluicegate::kafka::batch::write::{NewBatch, NewRecord};
use sluicegate::kafka::schema::{Field, Kind, Meaning};
use sluicegate::kafka::wire::{Form, put_bytes, put_count, put_string, put_uvarint};
use sluicegate::kafka::{APIS, Exchange, exchange};

use crate::input::Choices;

/// An input, and the name of its file.
pub struct Seed {
    /// The name of the API and its version, or what is in it.
    pub name: String,
    /// What the target is given.
    pub input: Vec<u8>,
}

/// A request of each API in each version that is carried; `choice` chooses what is in it.
pub fn requests(choice: u32) -> impl Iterator<Item = Seed> {
    exchanges().map(move |exchange| {
        let mut input = choice.to_be_bytes().to_vec();
        input.extend_from_slice(&exchange.api.key.to_be_bytes());
        input.extend_from_slice(&exchange.version.to_be_bytes());
        input.extend_from_slice(b"\0\0\0\x07\0\x06client");
        if exchange.is_flexible() {
            input.push(0);
        }
        seed(exchange, exchange.api.request, choice, input)
    })
}

/// A response of each API in each version that is carried.
pub fn responses(choice: u32) -> impl Iterator<Item = Seed> {
    exchanges().map(move |exchange| {
        let mut input = choice.to_be_bytes().to_vec();
        input.extend_from_slice(&exchange.api.key.to_be_bytes());
        input.extend_from_slice(&exchange.version.to_be_bytes());
        input.extend_from_slice(b"\0\0\0\x07");
        if exchange.response_header_flexible() {
            input.push(0);
        }
        seed(exchange, exchange.api.response, choice, input)
    })
}

/// Record batches of each codec.
pub fn batches(choice: u32) -> impl Iterator<Item = Seed> {
    CODECS.into_iter().map(move |codec| {
        let records = records(codec, &mut Choices::new(choice));
        // A seed that is no multiple of four leaves checksums as they are made here.
        let input = [&(choice | 1).to_be_bytes()[..], &records].concat();
        Seed { name: codec.name().to_owned(), input }
    })
}

/// Tokens of both mechanisms, and requests of a login.
pub fn logins(choice: u32) -> impl Iterator<Item = Seed> {
    let tokens = TOKENS.into_iter().map(|(name, token)| (name.to_owned(), token.to_vec()));
    let is_login = |seed: &Seed| seed.name.starts_with("Sasl");
    let frames = requests(choice).filter(is_login);
    let frames = frames.map(|seed| (seed.name, seed.input.get(4..).unwrap_or_default().to_vec()));
    tokens.chain(frames).map(move |(name, content)| {
        let input = [&choice.to_be_bytes()[..], &content].concat();
        Seed { name, input }
    })
}

fn exchanges() -> impl Iterator<Item = &'static Exchange> {
    APIS.iter()
        .flat_map(|api| (0..=api.carried.to).filter_map(|version| exchange(api.key, version)))
}

fn seed(exchange: &Exchange, fields: &[Field], choice: u32, input: Vec<u8>) -> Seed {
    let mut writer = Writer { exchange, choices: Choices::new(choice), out: input };
    writer.structure(fields);
    Seed { name: format!("{}-v{}", exchange.api.name, exchange.version), input: writer.out }
}

/// Writes one message, choice by choice.
struct Writer<'a> {
    exchange: &'a Exchange,
    choices: Choices,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn structure(&mut self, fields: &[Field]) {
        let version = self.exchange.version;
        let there = |field: &&Field| field.versions.contains(version);
        let is_tagged = |field: &Field| field.tag.is_some() && field.tagged.contains(version);
        for field in fields.iter().filter(there).filter(|field| !is_tagged(field)) {
            let null = field.nullable.contains(version) && self.choices.once_in(6);
            self.value(field, null);
        }
        if !self.exchange.is_flexible() {
            return;
        }
        let mut tagged: Vec<_> = fields.iter().filter(there).filter(|it| is_tagged(it)).collect();
        tagged.retain(|_| self.choices.once_in(2));
        tagged.sort_by_key(|field| field.tag);
        put_uvarint(&mut self.out, size(tagged.len()));
        for field in tagged {
            let before = std::mem::take(&mut self.out);
            self.value(field, false);
            let content = std::mem::replace(&mut self.out, before);
            put_uvarint(&mut self.out, field.tag.unwrap_or_default());
            put_uvarint(&mut self.out, size(content.len()));
            self.out.extend_from_slice(&content);
        }
    }

    fn value(&mut self, field: &Field, null: bool) {
        let count = if null { None } else { Some(self.choices.below(3)) };
        match field.kind {
            Kind::Bool => self.number(1, 2),
            Kind::Int8 => self.number(1, 4),
            Kind::Int16 | Kind::Uint16 if field.meaning == Meaning::ErrorCode => {
                let is_error = self.choices.once_in(4);
                self.out.extend_from_slice(&[0, u8::from(is_error)]);
            }
            Kind::Int16 | Kind::Uint16 => self.number(2, 4),
            Kind::Int32 | Kind::Uint32 => self.number(4, 12),
            Kind::Int64 | Kind::Float64 => self.number(8, 1_000),
            Kind::Uuid => {
                self.out.extend_from_slice(&[0; 12]);
                self.number(4, 4);
            }
            Kind::String => self.text(field.meaning, null),
            Kind::Bytes => {
                let blob = if null { None } else { Some(self.blob()) };
                let form = self.form();
                put_bytes(&mut self.out, form, blob);
            }
            Kind::Records => {
                let codec = CODECS.get(self.choices.below(8)).copied().unwrap_or(Codec::None);
                let records = (!null).then(|| records(codec, &mut self.choices));
                let form = self.form();
                put_bytes(&mut self.out, form, records.as_deref());
            }
            Kind::Structure(fields) => {
                if field.nullable.contains(self.exchange.version) {
                    self.out.push(if null { 0xff } else { 1 });
                }
                if !null {
                    self.structure(fields);
                }
            }
            Kind::Array(_, fields) => self.array(count, |writer| writer.structure(fields)),
            Kind::Int32s(_) => self.array(count, |writer| writer.number(4, 4)),
            Kind::Numbers(size) => self.array(count, |writer| writer.number(size, 4)),
            Kind::Strings(_) => self.array(count, |writer| writer.text(Meaning::Nothing, false)),
        }
    }

    fn array(&mut self, count: Option<usize>, element: impl Fn(&mut Self)) {
        let form = self.form();
        put_count(&mut self.out, form, count);
        for _ in 0..count.unwrap_or(0) {
            element(self);
        }
    }

    fn number(&mut self, bytes: usize, limit: usize) {
        let value = u64::try_from(self.choices.below(limit)).unwrap_or(0).to_be_bytes();
        self.out.extend_from_slice(value.get(8 - bytes..).unwrap_or_default());
    }

    fn text(&mut self, meaning: Meaning, null: bool) {
        let names = ["alpha", "two", "a", "b", "ünï", "127.0.0.1"];
        let name = match meaning {
            Meaning::ProtocolType if self.choices.once_in(2) => "consumer",
            _ => names.get(self.choices.below(names.len())).copied().unwrap_or_default(),
        };
        let form = self.form();
        put_string(&mut self.out, form, (!null).then_some(name));
    }

    /// What members of a group tell each other, mostly: subscriptions to two topics, and an assignment of one.
    fn blob(&mut self) -> &'static [u8] {
        let blobs: [&[u8]; 4] = [
            b"",
            b"\0\x01\0\0\0\x02\0\x05alpha\0\x03two\xff\xff\xff\xff\0\0\0\x01\0\x03two\0\0\0\x01\0\0\0\0",
            b"\0\0\0\0\0\x01\0\x03two\0\0\0\x01\0\0\0\x03\xff\xff\xff\xff",
            b"\0token\0eyJ",
        ];
        blobs.get(self.choices.below(blobs.len())).copied().unwrap_or_default()
    }

    fn form(&self) -> Form {
        if self.exchange.is_flexible() { Form::Compact } else { Form::Classic }
    }
}

/// One or two batches, with something to mask in some records.
fn records(codec: Codec, choices: &mut Choices) -> Vec<u8> {
    let values: [&[u8]; 6] = [
        br#"{"card":{"number":"4111111111111111"},"n":1}"#,
        br#"{"n":1,"mail":"ann@example.com","names":["Ann",null,2.5e1,{"x":true}]}"#,
        br#"{"n":"\u0061nn@example.com and bob@example.com"}"#,
        b"no json",
        b"{}",
        b"[1,2,3]",
    ];
    let mut out = Vec::new();
    for batch in 0..=choices.below(2) {
        let records = (0..=choices.below(3)).map(|index| NewRecord {
            offset_delta: i32::try_from(index).unwrap_or(0),
            timestamp_delta: 5,
            key: choices.once_in(2).then(|| b"ann@example.com".to_vec()),
            value: values.get(choices.below(7)).map(|value| value.to_vec()),
            headers: vec![(b"trace".to_vec(), None); choices.below(3)],
        });
        let records: Vec<NewRecord> = records.collect();
        let flags = [0, 0x10, 0x08, 0x40].get(choices.below(4)).copied().unwrap_or(0);
        let base_offset = i64::try_from(batch).unwrap_or(0) * 10;
        let new = NewBatch { codec, flags, base_offset, ..NewBatch::default() };
        let written = new.write(&records, &mut Codecs::new());
        let written: Bytes = written.expect("a small batch is written");
        out.extend_from_slice(&written);
    }
    out
}

fn size(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

const TOKENS: [(&str, &[u8]); 8] = [
    ("plain", b"\0token\0eyJ.eyJ.sig"),
    ("plain-authzid", "me\0ü\0日".as_bytes()),
    ("plain-more", b"\0token\0eyJ\0more"),
    ("bearer", b"n,,\x01auth=Bearer a.b-_~+/c==\x01\x01"),
    ("bearer-authzid", b"n,a=a=2Cb=3Dc,\x01auth=BEARER  a\x01\x01"),
    ("bearer-pairs", b"n,,\x01ext=v w\x01auth=Bearer a\x01other=1=2\x01\x01"),
    ("bearer-two", b"n,,\x01auth=Bearer a\x01auth=Bearer b\x01\x01"),
    ("bearer-bound", b"p=tls-unique,,\x01auth=Bearer a\x01\x01"),
];
