//! What a label says of its method, and a detector of its pattern.

use regex::bytes::{Regex, RegexBuilder};

use super::super::detect::Detectors;
use super::super::method::{
    Alphabet, Encrypt, Epoch, Keys, Method, Precision, Treatment, TruncateDate,
};
use super::super::yaml::{Key, Located, Node};
use super::RulesError;
use super::reader::Reader;

/// How large a pattern may be once it is compiled.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// What a label says, each with the line that says it.
#[derive(Default)]
struct Said {
    method: Option<String>,
    n: Option<(u64, usize)>,
    key: Option<(u64, String)>,
    alphabet: Option<(u64, Alphabet)>,
    to: Option<(u64, Precision)>,
    epoch: Option<(u64, Epoch)>,
    keeps_type: bool,
}

/// The body of a label: its method, and what the method needs.
pub(super) fn read(
    reader: &Reader<'_>,
    label: &Key,
    body: Located,
    keys: &Keys,
) -> Result<Treatment, RulesError> {
    let line = body.line;
    let said = said(reader, body)?;
    let Some(name) = said.method.as_deref() else {
        return Err(reader.error(line, format!("label `{}` has no `method`", label.name)));
    };
    said.refuse_others(reader, name)?;
    let method = match name {
        "keep-last" => match said.n {
            Some((_, n)) => Method::KeepLast { n },
            None => {
                let reason = "method `keep-last` needs `n`, how many characters stay";
                return Err(reader.error(line, reason));
            }
        },
        "truncate-date" => match said.to {
            Some((_, precision)) => Method::TruncateDate(TruncateDate {
                precision,
                epoch: said.epoch.map(|(_, epoch)| epoch),
            }),
            None => {
                let reason = "method `truncate-date` needs `to`: `year`, `month` or `day`";
                return Err(reader.error(line, reason));
            }
        },
        "hash" | "token" | "fpe" => keyed(reader, label, line, &said, name, keys)?,
        "nullify" => Method::Nullify,
        "drop" => Method::Drop,
        _ => Method::Redact,
    };
    Ok(Treatment { method, keeps_type: said.keeps_type })
}

fn said(reader: &Reader<'_>, body: Located) -> Result<Said, RulesError> {
    const KEYS: &[&str] = &["method", "n", "key", "alphabet", "to", "epoch", "type"];
    let mut said = Said::default();
    for (key, value) in reader.map(body)? {
        let line = value.line;
        match reader.known(&key, KEYS)? {
            "method" => {
                let (line, text) = reader.text(value)?;
                let name = reader.choose(line, "method", &text, &Method::NAMES)?;
                said.method = Some(name.to_owned());
            }
            "n" => match value.node {
                Node::Number(count @ 1..=64) => {
                    said.n = Some((line, usize::try_from(count).unwrap_or(1)));
                }
                _ => return Err(reader.error(line, "`n` is a number from 1 to 64")),
            },
            "key" => said.key = Some(reader.text(value)?),
            "alphabet" => {
                let (line, text) = reader.text(value)?;
                let name = reader.choose(line, "alphabet", &text, &Alphabet::NAMES)?;
                said.alphabet = Alphabet::named(name).map(|it| (line, it));
            }
            "to" => {
                let (line, text) = reader.text(value)?;
                let name = reader.choose(line, "precision", &text, &Precision::NAMES)?;
                said.to = Precision::named(name).map(|it| (line, it));
            }
            "epoch" => {
                let (line, text) = reader.text(value)?;
                let name = reader.choose(line, "epoch", &text, &Epoch::NAMES)?;
                said.epoch = Epoch::named(name).map(|it| (line, it));
            }
            _ => {
                let (line, text) = reader.text(value)?;
                said.keeps_type = reader.choose(line, "type", &text, &["keep", "text"])? == "keep";
            }
        }
    }
    Ok(said)
}

impl Said {
    /// Refuses what belongs to another method.
    fn refuse_others(&self, reader: &Reader<'_>, method: &str) -> Result<(), RulesError> {
        let keyed: &[&str] = &["hash", "token", "fpe"];
        let rows: [(Option<u64>, &str, &[&str]); 5] = [
            (self.n.as_ref().map(|it| it.0), "n", &["keep-last"]),
            (self.key.as_ref().map(|it| it.0), "key", keyed),
            (self.alphabet.as_ref().map(|it| it.0), "alphabet", &["fpe"]),
            (self.to.as_ref().map(|it| it.0), "to", &["truncate-date"]),
            (self.epoch.as_ref().map(|it| it.0), "epoch", &["truncate-date"]),
        ];
        for (line, key, methods) in rows {
            if let Some(line) = line
                && !methods.contains(&method)
            {
                let owners = methods.join("`, `");
                let reason =
                    format!("`{key}` belongs to method `{owners}`, and this is `{method}`");
                return Err(reader.error(line, reason));
            }
        }
        Ok(())
    }
}

fn keyed(
    reader: &Reader<'_>,
    label: &Key,
    line: u64,
    said: &Said,
    method: &str,
    keys: &Keys,
) -> Result<Method, RulesError> {
    let ids: Vec<&str> = keys.ids().collect();
    let id = match (&said.key, ids.as_slice()) {
        (Some((_, id)), _) if keys.serves(id) => id,
        (Some((line, id)), ids) => reader.choose(*line, "key", id, ids)?,
        (None, [only]) => only,
        (None, []) => {
            let reason =
                format!("label `{}` needs a key, and there is none in `masking.keys`", label.name);
            return Err(reader.error(line, reason));
        }
        (None, several) => {
            let reason =
                format!("label `{}` needs `key`, one of `{}`", label.name, several.join("`, `"));
            return Err(reader.error(line, reason));
        }
    };
    let alphabet = said.alphabet.map_or(Alphabet::Digits, |(_, alphabet)| alphabet);
    let method = match method {
        "hash" => keys.hash(id, &label.name).map(Method::Hash),
        "token" => keys.token(id, &label.name).map(Method::Token),
        _ => Encrypt::new(keys, id, &label.name, alphabet).map(Method::Encrypt),
    };
    method.ok_or_else(|| reader.error(line, format!("key `{id}` cannot be used")))
}

/// The body of a detector: a regular expression, with texts in which it finds something and in which it does not.
pub(super) fn read_pattern(
    reader: &Reader<'_>,
    name: &Key,
    body: Located,
) -> Result<Regex, RulesError> {
    let line = body.line;
    let (mut regex, mut examples) = (None, Vec::new());
    for (key, value) in reader.map(body)? {
        match reader.known(&key, &["pattern", "hits", "misses"])? {
            "pattern" => {
                let (line, text) = reader.text(value)?;
                let build = RegexBuilder::new(&text).size_limit(PATTERN_BYTES_MAX).build();
                let reason = |error| format!("`pattern` of detector `{}`: {error}", name.name);
                regex = Some(build.map_err(|error| reader.error(line, reason(error)))?);
            }
            which => {
                for example in reader.list(value)? {
                    let (line, text) = reader.text(example)?;
                    examples.push((line, text, which == "hits"));
                }
            }
        }
    }
    let Some(regex) = regex else {
        let reason = format!("detector `{}` has no `pattern`", name.name);
        return Err(reader.error(line, reason));
    };
    if !examples.iter().any(|(.., hits)| *hits) {
        let reason = format!(
            "detector `{}` has no `hits`: texts in which it finds something, which show that it does",
            name.name
        );
        return Err(reader.error(line, reason));
    }
    for (line, text, hits) in examples {
        if Detectors::finds(&regex, &text) != hits {
            let does = if hits { "finds nothing" } else { "finds something" };
            let reason = format!("detector `{}` {does} in `{text}`", name.name);
            return Err(reader.error(line, reason));
        }
    }
    Ok(regex)
}
