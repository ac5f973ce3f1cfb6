//! `sluicegate policy explain|test`: what the policies of a configuration say, without a gateway.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use sluicegate_actors::policy::Policies;
use sluicegate_actors::policy::snapshot::PolicySnapshot;
use sluicegate_actors::session::SessionFacts;
use sluicegate_actors::vocabulary::{
    Action, Decision, Identity, ResourceName, SessionId, UnixMillis, Verdict,
};

use crate::cli::{ConfigFile, Output, print, print_json, refuse};
use crate::clock;
use crate::config::{Config, Listener};

/// What to ask of the policies.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Say what an identity may do: the decision, the policies that made it, and those that can speak of the identity.
    Explain {
        /// Where the configuration is.
        #[command(flatten)]
        file: ConfigFile,
        /// The question.
        #[command(flatten)]
        question: Question,
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Hold the policies against a file of expected decisions; exit 1 where one is otherwise. See docs/POLICY.md.
    Test {
        /// The expected decisions, as YAML.
        expectations: PathBuf,
        /// Where the configuration is.
        #[command(flatten)]
        file: ConfigFile,
    },
}

/// Who wants to do what.
#[derive(Clone, Debug, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The `sub` of the token.
    #[arg(long)]
    subject: String,
    /// The `iss` of the token; where it is not said, that of the listener's first issuer.
    #[arg(long)]
    issuer: Option<String>,
    /// The groups of the token, separated by commas.
    #[arg(long, value_delimiter = ',')]
    #[serde(default)]
    groups: Vec<String>,
    /// Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs, IdempotentWrite or ClusterAction.
    #[arg(long)]
    action: String,
    /// `topic:NAME`, `partition:NAME-INDEX`, `group:ID`, `transactional-id:ID` or `cluster`.
    #[arg(long)]
    resource: String,
    /// The listener; the first one where it is not said.
    #[arg(long)]
    listener: Option<String>,
    /// Where the client connects from.
    #[arg(long, default_value = "127.0.0.1")]
    #[serde(default = "loopback")]
    address: IpAddr,
    /// The client id.
    #[arg(long, default_value = "")]
    #[serde(default)]
    client_id: String,
    /// The time, in milliseconds since 1970; now where it is not said.
    #[arg(long)]
    now_ms: Option<i64>,
}

/// One expected decision.
#[derive(Clone, Debug, Deserialize)]
struct Expectation {
    /// What it stands for, for whoever reads that it is not so.
    name: String,
    #[serde(flatten)]
    question: Question,
    expect: Expected,
    /// The ids of the policies that make it, in any order; not compared where they are not said.
    policies: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expected {
    Allow,
    Deny,
    Hold,
}

/// What is said of a decision.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    principal: String,
    groups: Vec<String>,
    listener: String,
    cluster: String,
    action: &'static str,
    resource: String,
    decision: Expected,
    /// Those that made it; none where nothing permits.
    policies: Vec<Place>,
    /// Where it is on hold: the groups of which one must approve, for each rule.
    approvers: Vec<Vec<String>>,
    /// How many policies there are.
    bundle: usize,
    /// Those of them that can speak of the identity.
    slice: Vec<Place>,
}

/// A policy and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Place {
    id: String,
    file: String,
    line: usize,
}

/// A configuration with its policies.
struct Ground {
    config: Config,
    policies: Policies,
}

/// Runs it. Exit code 0 where there is an answer and all is as expected, 1 where it is not, 2 where a file or the question
/// is wrong.
#[must_use]
pub fn run(what: &Policy) -> ExitCode {
    match what {
        Policy::Explain { file, question, output } => {
            let explained = Ground::load(&file.path()).and_then(|it| it.explain(question));
            match (explained, output) {
                (Ok(explanation), Output::Json) => print_json(&explanation),
                (Ok(explanation), Output::Table) => {
                    explanation.lines().iter().for_each(|line| print(line));
                }
                (Err(error), _) => return refuse(2, &error),
            }
            ExitCode::SUCCESS
        }
        Policy::Test { expectations, file } => match test(expectations, &file.path()) {
            Ok(0) => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(error) => refuse(2, &error),
        },
    }
}

/// Prints each expectation that does not hold, and how many do; returns how many do not.
fn test(expectations: &Path, config: &Path) -> Result<usize, String> {
    let ground = Ground::load(config)?;
    let text = std::fs::read_to_string(expectations)
        .map_err(|error| format!("cannot read `{}`: {error}", expectations.display()))?;
    let expected: Vec<Expectation> = serde_saphyr::from_str(&text).map_err(|error| {
        let text = error.without_snippet().to_string();
        let line = error.location().map_or(0, |location| location.line());
        format!("{}:{line}: {}", expectations.display(), text.lines().next().unwrap_or_default())
    })?;
    if expected.is_empty() {
        return Err(format!("`{}` expects nothing", expectations.display()));
    }
    let mut failed = 0_usize;
    for expectation in &expected {
        let explanation = ground
            .explain(&expectation.question)
            .map_err(|error| format!("{}: {error}", expectation.name))?;
        if let Some(difference) = expectation.difference(&explanation) {
            failed = failed.saturating_add(1);
            print(&format_args!("FAILED {}: {difference}", expectation.name));
        }
    }
    let held = expected.len().saturating_sub(failed);
    print(&format_args!("{held} of {} decisions are as expected", expected.len()));
    Ok(failed)
}

impl Expectation {
    fn difference(&self, found: &Explanation) -> Option<String> {
        let mut ids: Vec<&str> = found.policies.iter().map(|policy| policy.id.as_str()).collect();
        ids.sort_unstable();
        let by = if ids.is_empty() { "no policy".to_owned() } else { ids.join(", ") };
        if found.decision != self.expect {
            let (wanted, got) = (self.expect.name(), found.decision.name());
            return Some(format!("{wanted} is expected, {got} is decided by {by}"));
        }
        let mut wanted: Vec<&str> = self.policies.as_ref()?.iter().map(String::as_str).collect();
        wanted.sort_unstable();
        (wanted != ids).then(|| format!("it is decided by {by}, not by {}", wanted.join(", ")))
    }
}

impl Expected {
    fn of(decision: &Decision) -> Self {
        match decision.verdict {
            Verdict::Allow => Self::Allow,
            Verdict::Deny => Self::Deny,
            Verdict::Hold { .. } => Self::Hold,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Hold => "hold",
        }
    }
}

impl Ground {
    fn load(path: &Path) -> Result<Self, String> {
        let config = Config::load(path).map_err(|error| error.to_string())?;
        let policies = Policies::load(config.policy_files.clone(), config.approvers.clone())
            .map_err(|error| error.to_string())?;
        Ok(Self { config, policies })
    }

    fn explain(&self, question: &Question) -> Result<Explanation, String> {
        let action = action(&question.action)?;
        let resource = resource(&question.resource)?;
        let listener = self.listener(question.listener.as_deref())?;
        let now = question.now_ms.map_or_else(clock::wall, UnixMillis);
        let facts = self.facts(question, listener, now)?;
        let snapshot = self
            .policies
            .compile(&facts, &listener.cluster, now)
            .map_err(|error| error.to_string())?;
        let decision = snapshot.decide(action, resource.borrow(), now).decision;
        let approvers = match &decision.verdict {
            Verdict::Hold { rules, .. } => rules.iter().map(|it| it.approvers.clone()).collect(),
            _ => Vec::new(),
        };
        Ok(Explanation {
            principal: facts.identity.principal(),
            groups: facts.identity.groups.clone(),
            listener: listener.name.clone(),
            cluster: listener.cluster.clone(),
            action: action.name(),
            resource: question.resource.clone(),
            decision: Expected::of(&decision),
            policies: decision.policies.iter().map(|id| place(&snapshot, id)).collect(),
            approvers,
            bundle: self.policies.bundle().rules().count(),
            slice: slice(&snapshot),
        })
    }

    fn listener(&self, name: Option<&str>) -> Result<&Listener, String> {
        let listeners = &self.config.listeners;
        let found = match name {
            Some(name) => listeners.iter().find(|listener| listener.name == name),
            None => listeners.first(),
        };
        found.ok_or_else(|| {
            let names: Vec<_> = listeners.iter().map(|it| it.name.as_str()).collect();
            format!("no listener `{}`; there are: {}", name.unwrap_or_default(), names.join(", "))
        })
    }

    fn facts(
        &self,
        question: &Question,
        listener: &Listener,
        now: UnixMillis,
    ) -> Result<SessionFacts, String> {
        let first = || {
            let issuer = listener.issuers.first().and_then(|it| self.config.issuers.get(it));
            issuer.map(|issuer| issuer.issuer.clone())
        };
        let issuer = question.issuer.clone().or_else(first);
        let issuer = issuer.ok_or_else(|| format!("listener `{}` has no issuer", listener.name))?;
        let mut groups = question.groups.clone();
        groups.sort_unstable();
        groups.dedup();
        let identity = Identity {
            issuer,
            subject: question.subject.clone(),
            groups,
            expires_at: UnixMillis(i64::MAX),
        };
        Ok(SessionFacts {
            session: SessionId([0; 16]),
            identity: Arc::new(identity),
            client_id: question.client_id.as_str().into(),
            address: question.address,
            listener: listener.name.as_str().into(),
            login: "oauthbearer",
            opened_at: now,
        })
    }
}

impl Explanation {
    fn lines(&self) -> Vec<String> {
        let places = |places: &[Place], none: &str| -> Vec<String> {
            if places.is_empty() {
                return vec![none.to_owned()];
            }
            places.iter().map(|it| format!("{} ({}:{})", it.id, it.file, it.line)).collect()
        };
        let mut lines = vec![
            format!("identity   {}", self.principal),
            format!("groups     {}", self.groups.join(", ")),
            format!("through    listener {}, cluster {}", self.listener, self.cluster),
            format!("asked      {} on {}", self.action, self.resource),
            format!("decision   {}", self.decision.name()),
        ];
        let mut list = |title: &str, texts: Vec<String>| {
            for (index, text) in texts.into_iter().enumerate() {
                let title = if index == 0 { title } else { "" };
                lines.push(format!("{title:<11}{text}"));
            }
        };
        list("by", places(&self.policies, "no policy permits it"));
        list("approvers", self.approvers.iter().map(|groups| groups.join(" or ")).collect());
        list("slice", vec![format!("{} of {} policies", self.slice.len(), self.bundle)]);
        list("", places(&self.slice, "none can speak of the identity"));
        lines
    }
}

/// The policies that can speak of the identity, by place.
fn slice(snapshot: &PolicySnapshot) -> Vec<Place> {
    let mut places: Vec<Place> = snapshot
        .slice()
        .rules()
        .map(|rule| {
            let (file, line) = rule.position();
            Place { id: rule.id().to_owned(), file: file.to_owned(), line }
        })
        .collect();
    places.sort_unstable_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    places
}

fn place(snapshot: &PolicySnapshot, id: &str) -> Place {
    let known = slice(snapshot).into_iter().find(|place| place.id == id);
    known.unwrap_or_else(|| Place { id: id.to_owned(), file: String::new(), line: 0 })
}

fn action(name: &str) -> Result<Action, String> {
    let found = Action::ALL.into_iter().find(|action| action.name() == name);
    found.ok_or_else(|| {
        let names: Vec<_> = Action::ALL.iter().map(|action| action.name()).collect();
        format!("no action `{name}`; there are: {}", names.join(", "))
    })
}

fn resource(text: &str) -> Result<ResourceName, String> {
    let (kind, name) = text.split_once(':').unwrap_or((text, ""));
    let unusable = || {
        format!(
            "no resource `{text}`: write topic:NAME, partition:NAME-INDEX, group:ID, \
             transactional-id:ID or cluster"
        )
    };
    match (kind, name) {
        ("cluster", "") => Ok(ResourceName::Cluster),
        (_, "") => Err(unusable()),
        ("topic", name) => Ok(ResourceName::Topic(name.to_owned())),
        ("group", id) => Ok(ResourceName::ConsumerGroup(id.to_owned())),
        ("transactional-id", id) => Ok(ResourceName::TransactionalId(id.to_owned())),
        ("partition", name) => {
            let (topic, index) = name.rsplit_once('-').ok_or_else(unusable)?;
            let index = index.parse().map_err(|_| unusable())?;
            Ok(ResourceName::Partition { topic: topic.to_owned(), index })
        }
        _ => Err(unusable()),
    }
}

fn loopback() -> IpAddr {
    std::net::Ipv4Addr::LOCALHOST.into()
}
