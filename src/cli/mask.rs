//! `sluicegate mask test`: what mask rules make of records, without a gateway.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde::Serialize;
use sluicegate_actors::masking::method::WITHHELD;
use sluicegate_actors::masking::{Direction, Keys, MaskPlan, Masked, Rules, RulesFile, Scratch};

use crate::cli::{Output, print, print_json, refuse};

/// What to ask of mask rules.
#[derive(Debug, Subcommand)]
pub enum Mask {
    /// Show what the rules make of a value: before, after, and what masked. Keyed methods use a key of the test's own, so
    /// hashes, tokens and the like are not those of a gateway.
    Test(Test),
}

/// A trial of mask rules.
#[derive(Debug, clap::Args)]
pub struct Test {
    /// A file of mask rules (docs/MASKING.md).
    rules: PathBuf,
    /// A file that is one record's value; `-` is standard input.
    file: PathBuf,
    /// The topic; where it is not said, the one that the rules name, if that is no pattern.
    #[arg(long)]
    topic: Option<String>,
    /// Labels that the reader may see in clear, separated by commas; none where it is not said.
    #[arg(long, value_delimiter = ',')]
    clear: Vec<String>,
    /// Each line of the file is a value.
    #[arg(long)]
    lines: bool,
    /// A record key to show, too.
    #[arg(long)]
    key: Option<String>,
    /// A header to show, too, as NAME=VALUE; again for more.
    #[arg(long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// What became of one part of a record.
#[derive(Debug, Serialize)]
struct Shown {
    part: String,
    before: String,
    /// `null` where null is delivered, or the header is left out.
    after: Option<String>,
    outcome: &'static str,
    masked: Vec<Fired>,
}

/// What masked, and by which rule.
#[derive(Debug, Serialize)]
struct Fired {
    what: String,
    label: String,
    method: &'static str,
    rule: String,
}

/// Runs the command.
#[must_use]
pub fn run(what: &Mask) -> ExitCode {
    let Mask::Test(test) = what;
    match test.shown() {
        Ok(shown) => {
            match test.output {
                Output::Json => print_json(&shown),
                Output::Table => print(&table(&shown).trim_end()),
            }
            ExitCode::SUCCESS
        }
        Err(reason) => refuse(2, &reason),
    }
}

impl Test {
    fn shown(&self) -> Result<Vec<Shown>, String> {
        let text = std::fs::read_to_string(&self.rules)
            .map_err(|error| format!("cannot read `{}`: {error}", self.rules.display()))?;
        let name = self.rules.display().to_string();
        let file = RulesFile { name: &name, text: &text };
        let rules =
            Rules::compile(&[file], &Keys::for_trials()).map_err(|error| error.to_string())?;
        let topic = self.topic(&rules)?;
        if !rules.names(&topic) {
            let topics = rules.topics().collect::<Vec<_>>().join("`, `");
            return Err(format!("no rule names topic `{topic}`; the rules name `{topics}`"));
        }
        let known: Vec<&str> = rules.labels(&topic).map(|label| &**label).collect();
        if let Some(unknown) = self.clear.iter().find(|label| !known.contains(&label.as_str())) {
            let known = known.join("`, `");
            return Err(format!(
                "no rule for topic `{topic}` uses label `{unknown}`; those in use are `{known}`"
            ));
        }
        let plan = rules
            .plan(&topic, Direction::Read, |label| self.clear.iter().any(|clear| clear == label));
        let values = read(&self.file)?;
        let values: Vec<&[u8]> = if self.lines {
            values.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect()
        } else {
            // An editor's last line feed is no part of the value.
            vec![values.strip_suffix(b"\n").unwrap_or(&values)]
        };
        let trial = Trial { plan: plan.as_ref() };
        let mut shown = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let part = match values.len() {
                1 => "value".to_owned(),
                _ => format!("value {}", index.saturating_add(1)),
            };
            shown.push(trial.show(part, value, MaskPlan::mask_value));
        }
        if let Some(key) = &self.key {
            shown.push(trial.show("key".to_owned(), key.as_bytes(), MaskPlan::mask_key));
        }
        for header in &self.headers {
            let (name, value) = header
                .split_once('=')
                .ok_or_else(|| format!("`{header}` is no header; say `--header NAME=VALUE`"))?;
            let part = format!("header {name}");
            shown.push(trial.show(part, value.as_bytes(), |plan, value, scratch| {
                match plan.mask_header_name(name.as_bytes(), scratch) {
                    Masked::Null => Masked::Null,
                    _ => plan.mask_header_value(name.as_bytes(), value, scratch),
                }
            }));
        }
        Ok(shown)
    }

    fn topic(&self, rules: &Rules) -> Result<String, String> {
        if let Some(topic) = &self.topic {
            return Ok(topic.clone());
        }
        let mut topics: Vec<&str> = rules.topics().collect();
        topics.sort_unstable();
        topics.dedup();
        match topics.as_slice() {
            [one] if !one.contains('*') => Ok((*one).to_owned()),
            [] => Err("there are no rules in the file".to_owned()),
            several => Err(format!("say `--topic`: the rules name `{}`", several.join("`, `"))),
        }
    }
}

/// Rules as one reader meets them; no plan where the reader sees everything.
struct Trial<'p> {
    plan: Option<&'p MaskPlan>,
}

impl Trial<'_> {
    fn show(
        &self,
        part: String,
        bytes: &[u8],
        mask: impl for<'s> Fn(&MaskPlan, &[u8], &'s mut Scratch) -> Masked<'s>,
    ) -> Shown {
        let mut scratch = Scratch::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let masked = match self.plan {
            Some(plan) => mask(plan, bytes, &mut scratch),
            None => Masked::Unchanged,
        };
        let (outcome, after) = match masked {
            Masked::Unchanged => ("unchanged", Some(text(bytes))),
            Masked::Changed(masked) => ("masked", Some(text(masked))),
            Masked::Withheld => ("withheld", Some(text(WITHHELD))),
            Masked::Null => ("left out", None),
        };
        let fired =
            self.plan.into_iter().flat_map(|plan| plan.fired(&scratch)).map(|fired| Fired {
                what: fired.site.what.to_string(),
                label: fired.label.to_string(),
                method: fired.site.method_name(),
                rule: fired.site.place.to_string(),
            });
        Shown { part, before: text(bytes), after, outcome, masked: fired.collect() }
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    read.map_err(|error| format!("cannot read `{}`: {error}", file.display()))
}

fn table(shown: &[Shown]) -> String {
    let mut text = String::new();
    for Shown { part, before, after, outcome, masked } in shown {
        let after = after.as_deref().unwrap_or("null");
        text.push_str(&format!("{part}: {outcome}\n  before  {before}\n"));
        if *outcome != "unchanged" {
            text.push_str(&format!("  after   {after}\n"));
        }
        if *outcome == "withheld" {
            text.push_str("  it is not one JSON document within the limits of docs/MASKING.md\n");
        }
        for Fired { what, label, method, rule } in masked {
            text.push_str(&format!("  {what} ({label}: {method}), {rule}\n"));
        }
    }
    text
}
