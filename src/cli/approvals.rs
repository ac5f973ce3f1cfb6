//! `sluicegate approvals list|grant|refuse|revoke`: tickets of a running gateway, over its admin API.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sluicegate_actors::recorder::replay::{printable, second_text};

use crate::cli::{ConfigFile, Output, print, print_json, refuse, table};
use crate::config::Config;
use crate::limits;

/// What to do with tickets.
#[derive(Debug, Subcommand)]
pub enum Approvals {
    /// List your own tickets, and those that you may answer: what waits first, then the latest.
    List {
        /// Which gateway, and who asks.
        #[command(flatten)]
        at: Gateway,
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Grant a ticket, for as long as its policy says.
    Grant(Answer),
    /// Refuse a ticket; the same is not asked again for ten minutes.
    Refuse(Answer),
    /// Take a grant back, by its own name or its ticket's; connections that use it stop within a second.
    Revoke(Answer),
}

/// One ticket or grant.
#[derive(Debug, clap::Args)]
pub struct Answer {
    /// Its name; see `sluicegate approvals list`.
    ticket: String,
    /// Which gateway, and who answers.
    #[command(flatten)]
    at: Gateway,
    /// How to print the ticket as it is then.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// A running gateway, and who speaks to it.
#[derive(Debug, clap::Args)]
pub struct Gateway {
    #[command(flatten)]
    file: ConfigFile,
    /// The file of your own token; else the token itself in SLUICEGATE_TOKEN.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Runs it. Exit code 0 done, 1 the gateway refused or does not answer, 2 the configuration or the token is not there.
#[must_use]
pub fn run(what: &Approvals) -> ExitCode {
    let (at, output, call) = match what {
        Approvals::List { at, output } => (at, *output, None),
        Approvals::Grant(answer) => (&answer.at, answer.output, Some((answer, "grant"))),
        Approvals::Refuse(answer) => (&answer.at, answer.output, Some((answer, "refuse"))),
        Approvals::Revoke(answer) => (&answer.at, answer.output, Some((answer, "revoke"))),
    };
    let (address, token) = match at.address().and_then(|address| Ok((address, at.token()?))) {
        Ok(found) => found,
        Err(error) => return refuse(2, &error),
    };
    let asked = match call {
        None => ask(reqwest::Method::GET, &format!("{address}/approvals"), &token),
        Some((answer, verb)) => {
            if !is_name(&answer.ticket) {
                let shown = printable(&answer.ticket);
                return refuse(
                    2,
                    &format!("`{shown}` is no ticket; see `sluicegate approvals list`"),
                );
            }
            let url = format!("{address}/approvals/{}/{verb}", answer.ticket);
            ask(reqwest::Method::POST, &url, &token)
        }
    };
    match (asked, output) {
        (Err(error), _) => return refuse(1, &error),
        (Ok(answer), Output::Json) => print_json(&answer),
        (Ok(Value::Array(tickets)), Output::Table) => show(&tickets),
        (Ok(ticket), Output::Table) => show(&[ticket]),
    }
    ExitCode::SUCCESS
}

impl Gateway {
    fn address(&self) -> Result<String, String> {
        let config = Config::load(&self.file.path()).map_err(|error| error.to_string())?;
        let bind = config.admin_bind.ok_or("the configuration has no `admin.bind`")?;
        Ok(format!("http://{bind}/api/v1"))
    }

    fn token(&self) -> Result<SecretString, String> {
        let token = match &self.token_file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| format!("cannot read `{}`: {error}", path.display()))?,
            None => std::env::var("SLUICEGATE_TOKEN")
                .map_err(|_| "no token: use --token-file or SLUICEGATE_TOKEN".to_owned())?,
        };
        Ok(SecretString::from(token.trim()))
    }
}

fn ask(method: reqwest::Method, url: &str, token: &SecretString) -> Result<Value, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let client = reqwest::Client::builder()
            // The API is on loopback: no proxy is between.
            .no_proxy()
            .timeout(limits::ASK_MS_MAX)
            .build()
            .map_err(|error| error.to_string())?;
        let request = client.request(method, url).bearer_auth(token.expose_secret());
        let response = request
            .send()
            .await
            .map_err(|error| format!("no gateway answers at {url}: {error}"))?;
        let status = response.status();
        let body: Value = response
            .json()
            .await
            .map_err(|error| format!("the answer of {url} cannot be read: {error}"))?;
        if status.is_success() {
            return Ok(body);
        }
        let error = body.get("error").and_then(Value::as_str).unwrap_or("it gives no reason");
        Err(printable(error))
    })
}

/// `t-` or `g-` and what follows: nothing that would change the path of the call.
fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') && !name.is_empty()
}

fn show(tickets: &[Value]) {
    let rows: Vec<_> = tickets.iter().map(row).collect();
    let header = ["ticket", "state", "identity", "wants", "approvers", "until"];
    for line in table::lines(header, &rows) {
        print(&line);
    }
}

fn row(ticket: &Value) -> [String; 6] {
    let text = |key: &str| printable(ticket[key].as_str().unwrap_or_default());
    let list = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().map(name_of).collect()
    };
    let wants = format!(
        "{} {}",
        list(&ticket["actions"]).join(", "),
        list(&ticket["resources"]).join(", ")
    );
    let rules = ticket["rules"].as_array().into_iter().flatten();
    let approvers: Vec<String> = rules.flat_map(|rule| list(&rule["approvers"])).collect();
    let until = match text("state").as_str() {
        "pending" => &ticket["expiresAt"],
        _ => &ticket["grantedUntil"],
    };
    let until = until.as_i64().map(|ms| second_text(ms.saturating_mul(1_000))).unwrap_or_default();
    [text("ticket"), text("state"), text("principal"), wants, approvers.join(", "), until]
}

/// `{"topic": "payments"}` is `topic payments`.
fn name_of(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => fields
            .iter()
            .map(|(kind, name)| match (name, name.get("topic"), name.get("index")) {
                (_, Some(Value::String(topic)), Some(index)) => format!("{kind} {topic}-{index}"),
                (Value::String(name), ..) => format!("{kind} {name}"),
                _ => kind.clone(),
            })
            .collect::<Vec<_>>()
            .join(", "),
        other => other.to_string(),
    };
    printable(&text)
}
