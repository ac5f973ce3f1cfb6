use std::fmt::Write;
use std::path::Path;

use super::*;

/// The page that tells the table; `SLUICEGATE_WRITE_DOCS=1` writes it anew.
const PAGE: &str = "docs/PROTOCOL.md";
const BEGIN: &str = "<!-- the table: begin -->\n";
const END: &str = "<!-- the table: end -->\n";

#[test]
fn the_page_tells_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    let told = told();
    if std::env::var_os("SLUICEGATE_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{told}{END}{after}")).unwrap();
        return;
    }
    assert!(
        table == told,
        "{PAGE} is not as the code is: SLUICEGATE_WRITE_DOCS=1 cargo test writes it\n{told}"
    );
}

#[test]
fn keys_are_in_order_and_once() {
    assert!(APIS.is_sorted_by(|one, next| one.key < next.key));
}

fn told() -> String {
    let mut out = String::from(
        "| key | API | versions | its request needs | its answer shows |\n|---|---|---|---|---|\n",
    );
    for api in &APIS {
        let mut versions = range(api.carried);
        if api.offered != api.carried {
            write!(versions, " (offered {})", range(api.offered)).unwrap();
        }
        let needs = match api.handling {
            Handling::Login => "part of the login, answered by the gateway".to_owned(),
            Handling::Local => "nothing, answered by the gateway".to_owned(),
            Handling::Never => "nobody gets it: 31".to_owned(),
            Handling::Enforce => list(api, api.needs),
        };
        let shows = list(api, api.shows);
        writeln!(out, "| {} | {} | {versions} | {needs} | {shows} |", api.key, api.name).unwrap();
    }
    out
}

fn range(versions: Versions) -> String {
    if versions.from == versions.to {
        return versions.from.to_string();
    }
    format!("{}–{}", versions.from, versions.to)
}

fn list(api: &Api, needs: &[Need]) -> String {
    let told: Vec<String> = needs.iter().map(|need| one(api, need)).collect();
    told.join("; ")
}

fn one(api: &Api, need: &Need) -> String {
    let mut out = format!("`{}` on {}", need.action.name(), subject(need.subject));
    if let Some((other, action)) = need.instead {
        write!(out, " or `{}` on {}", action.name(), subject(other)).unwrap();
    }
    if let Some(when) = condition(need.when) {
        write!(out, ", {when}").unwrap();
    }
    let versions = need.versions.intersect(api.carried);
    if versions != api.carried {
        write!(out, ", versions {}", range(versions)).unwrap();
    }
    match need.refusal {
        Refusal::Whole(code) => write!(out, ": else {} for all", code.0),
        Refusal::Element(_) if need.subject == Subject::Configured => {
            write!(out, ": else 29, 30 or 31 for it")
        }
        Refusal::Element(code) => write!(out, ": else {} for it", code.0),
        Refusal::AllOrNothing(code, others) => {
            write!(out, ": else {} for it and {} for the others", code.0, others.0)
        }
        Refusal::Hide => write!(out, ": else it is left out"),
    }
    .unwrap();
    out
}

fn subject(subject: Subject) -> &'static str {
    match subject {
        Subject::Topics(List::SubscribedTopics) => "each topic subscribed to",
        Subject::Topics(List::AssignedTopics) => "each topic assigned",
        Subject::Topics(List::TargetTopics) => "each topic to be assigned",
        Subject::Topics(_) => "each topic",
        Subject::Groups => "each group",
        Subject::TransactionalId => "the transactional id",
        Subject::GroupKeys => "each key as a group",
        Subject::TransactionalKeys => "each key as a transactional id",
        Subject::Configured => "each topic or group, or the cluster for what belongs to it",
        Subject::Cluster => "the cluster",
        Subject::AnyTopic => "any topic",
    }
}

fn condition(when: When) -> Option<String> {
    Some(match when {
        When::Always => return None,
        When::TransactionalBatch => "where a batch is transactional".to_owned(),
        When::TransactionalIdGiven => "where one is named".to_owned(),
        When::TransactionalIdAbsent => "where no transactional id is named".to_owned(),
        When::KeyType(kind) => format!("of key type {kind}"),
        When::Replica => "where the asker says that it is a broker".to_owned(),
        When::AutoCreate => "where it is absent and may be created by asking".to_owned(),
    })
}
