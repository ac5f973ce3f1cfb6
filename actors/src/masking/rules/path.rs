//! Paths of fields: keys from the root, parted by dots.

use super::super::places::Step;
use super::RulesError;
use super::reader::Reader;

/// Reads a path. A key that is `*` stands for any key, `**` for any number of keys in front of the next; a key in double
/// quotes, within which a backslash escapes, stands for itself.
pub(super) fn read(reader: &Reader<'_>, line: u64, path: &str) -> Result<Vec<Step>, RulesError> {
    steps(path).map_err(|reason| reader.error(line, format!("path `{path}` {reason}")))
}

fn steps(path: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut characters = path.chars().peekable();
    loop {
        let mut key = String::new();
        if characters.next_if_eq(&'"').is_some() {
            loop {
                match characters.next() {
                    Some('"') => break,
                    Some('\\') => key.extend(characters.next()),
                    Some(character) => key.push(character),
                    None => return Err("has a quote that does not end".to_owned()),
                }
            }
            steps.push(Step::Key(key.into_bytes().into()));
        } else {
            while let Some(character) = characters.next_if(|character| *character != '.') {
                key.push(character);
            }
            steps.push(step(key)?);
        }
        match characters.next() {
            None => break,
            Some('.') => {}
            Some(_) => return Err("goes on after a quoted key without a dot".to_owned()),
        }
    }
    if steps.last() == Some(&Step::Deep) {
        return Err("ends with `**`; name the key that is meant at any depth behind it".to_owned());
    }
    // `**.**` is `**`.
    steps.dedup_by(|next, before| *next == Step::Deep && *before == Step::Deep);
    Ok(steps)
}

fn step(key: String) -> Result<Step, String> {
    match key.as_str() {
        "" => Err("has an empty key; quote one that is meant".to_owned()),
        "*" => Ok(Step::Any),
        "**" => Ok(Step::Deep),
        _ if key.contains(['*', '"', '[', ']']) => Err(format!(
            "has a pattern or bracket in key `{key}`; `*` stands for a whole key, `**` for any number of them, arrays are \
             entered by themselves, and keys with such characters are quoted"
        )),
        _ => Ok(Step::Key(key.into_bytes().into())),
    }
}
