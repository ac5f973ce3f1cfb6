use super::*;
use crate::policy::fixtures::Session;
use crate::vocabulary::{Action, Resource, Verdict};

const EXAMPLE: &str = include_str!("../../../../config/policies/example.cedar");

fn load(text: &str) -> Result<Bundle, BundleError> {
    let file = PolicyFile { name: "p.cedar".to_owned(), text: text.to_owned() };
    Bundle::load(&[file], &["data-owners".to_owned(), "security".to_owned()], 1)
}

/// The whole text of what is wrong, or nothing.
fn problems(text: &str) -> String {
    load(text).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn the_example_is_valid() {
    let bundle = load(EXAMPLE).unwrap();
    let ids: Vec<&str> = bundle.rules().map(Rule::id).collect();
    assert_eq!(
        ids,
        [
            "analysts-read-payments",
            "analysts-consumer-groups",
            "auditors-read",
            "auditors-see-cards",
            "contractors-read",
            "contractors-ask-first",
        ]
    );
    let asking = bundle.rules().find(|rule| rule.id() == "contractors-ask-first").unwrap();
    assert_eq!(asking.approvers, ["data-owners"]);
    assert_eq!(asking.grant_ttl_ms, 4 * 3_600_000);
    assert_eq!(asking.position(), ("p.cedar", 41));
    assert_eq!(bundle.epoch(), 1);
}

#[test]
fn an_empty_bundle_is_valid_and_permits_nothing() {
    assert_eq!(load("").unwrap().rules().count(), 0);
    assert_eq!(load("// nothing yet\n").unwrap().rules().count(), 0);
    assert_eq!(Bundle::load(&[], &[], 7).unwrap().epoch(), 7);
}

#[test]
#[expect(clippy::too_many_lines, reason = "rows of data")]
fn refusals_name_the_place_and_the_reason() {
    let rows: &[(&str, &str)] = &[
        (
            "permit (principal, action, resource);",
            "p.cedar:1:1: a policy without `@id`: add @id(\"a-name-of-its-own\") before it",
        ),
        (
            "@id(\"a\")\npermit (principal, action, resource);\n\n  @id(\"a\") permit (principal, \
             action, resource);",
            "p.cedar:4:3: @id `a` is taken by the policy at p.cedar:1",
        ),
        (
            "@id(\"a b\") permit (principal, action, resource);",
            "p.cedar:1:1: @id `a b` must have 1 to 128 characters of A-Z a-z 0-9 . _ - / : @",
        ),
        (
            "@id(\"a\")\n@aprovers(\"data-owners\")\npermit (principal, action, resource);",
            "p.cedar:2:1: unknown annotation @aprovers (did you mean `approvers`?); known are @id, \
             @approvers, @ttl, @description and @advice",
        ),
        (
            "@id(\"a\")\n@approvers(\"data-owner\")\npermit (principal, action, resource) when { \
             context.approved };",
            "p.cedar:2:1: @approvers names `data-owner`, which is not in approvals.approvers of \
             the configuration (did you mean `data-owners`?)",
        ),
        (
            "@id(\"a\") @approvers(\" , \") permit (principal, action, resource) when { \
             context.approved };",
            "p.cedar:1:10: @approvers names no group: write @approvers(\"group\") or \
             @approvers(\"one, other\")",
        ),
        (
            "@id(\"a\") @approvers(\"security\") @ttl(\"4 hours\") permit (principal, action, \
             resource) when { context.approved };",
            "p.cedar:1:33: @ttl `4 hours` is not a time: write a number and s, m, h or d, up to \
             30d, as in @ttl(\"4h\")",
        ),
        (
            "@id(\"a\") @ttl(\"4h\") permit (principal, action, resource);",
            "p.cedar:1:10: @ttl without @approvers: nothing here is granted for a time",
        ),
        (
            "@id(\"a\")\nforbid (principal, action, resource) unless { context.approved };",
            "p.cedar:1:1: policy `a` reads context.approved but has no @approvers: nobody could \
             approve it",
        ),
        (
            "@id(\"a\") @approvers(\"security\")\nforbid (principal, action, resource);",
            "p.cedar:1:1: policy `a` has @approvers but does not read context.approved: approval \
             would change nothing",
        ),
        (
            "@id(\"a\") permit (principal == ?principal, action, resource);",
            "p.cedar:1:1: templates are not supported: replace `?principal` and `?resource` by \
             names",
        ),
        (
            "@id(\"a\") permit (principal, action == Action::\"Read\", resource == \
             Partition::\"payments\");",
            "p.cedar:1:1: Partition::\"payments\" is not a topic, a hyphen and an index, as in \
             Partition::\"payments-3\"",
        ),
        (
            "@id(\"a\") permit (principal, action == Action::\"Read\", resource) when { resource \
             in [Partition::\"x-03\"] };",
            "p.cedar:1:1: Partition::\"x-03\" is not a topic, a hyphen and an index, as in \
             Partition::\"payments-3\"",
        ),
        // Rules that can never match.
        (
            "@id(\"a\")\n\n@advice(\"x\")\npermit (principal, action == Action::\"Write\", resource \
             is ConsumerGroup);",
            "p.cedar:1:1: policy `a` can never match: no action applies to a principal and a \
             resource that its scope and conditions allow",
        ),
        (
            "@id(\"a\") permit (principal == Group::\"g\", action, resource);",
            "p.cedar:1:1: policy `a` can never match: no action applies to a principal and a \
             resource that its scope and conditions allow",
        ),
        (
            "@id(\"a\") permit (principal, action, resource) when { resource is Topic && resource \
             is Cluster };",
            "p.cedar:1:1: policy `a` can never match: no action applies to a principal and a \
             resource that its scope and conditions allow",
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(&problems(text), expected, "for {text}");
    }
}

#[test]
fn what_cedar_finds_is_told_with_its_place() {
    let rows: &[(&str, &str, &str)] = &[
        (
            "@id(\"a\")\npermit (principal, action, resource",
            "p.cedar:2:",
            "unexpected end of input",
        ),
        (
            "@id(\"a\") permit (principal, action, resource);\n\n@id(\"b\") allow (principal, \
             action, resource);",
            "p.cedar:3:10:",
            "allow",
        ),
        (
            "@id(\"a\") permit (\n  principal,\n  action == Action::\"Raed\",\n  resource\n);",
            "p.cedar:3:13:",
            "Raed",
        ),
        ("@id(\"a\") permit (principal in Gruop::\"x\", action, resource);", "p.cedar:1:", "Gruop"),
        (
            "@id(\"a\") permit (principal, action == Action::\"Read\", resource)\n  when { \
             resource.nmae == \"x\" };",
            "p.cedar:2:10:",
            "nmae",
        ),
        (
            "@id(\"a\") permit (principal, action == Action::\"Read\", resource)\n  when { \
             context.aproved };",
            "p.cedar:2:10:",
            "aproved",
        ),
        (
            "@id(\"a\") permit (principal, action == Action::\"Read\", resource)\n  when { \
             resource.name };",
            "p.cedar:2:10:",
            "Bool",
        ),
        ("@id(\"a\") @id(\"b\") permit (principal, action, resource);", "p.cedar:1:", "id"),
        (
            "@id(\"a\") permit (principal, action, resource is Topic) when { resource.name == \
             \"pay\u{202e}ments\" };",
            "p.cedar:1:",
            "BIDI",
        ),
        (
            "@id(\"a\") permit (principal, action, resource) when { context == context };",
            "p.cedar:1:",
            "as a whole",
        ),
    ];
    for (text, place, part) in rows {
        let told = problems(text);
        assert!(
            told.lines().any(|line| line.starts_with(place) && line.contains(part)),
            "for {text}\nexpected {place} … {part}\ntold {told}"
        );
    }
}

#[test]
fn everything_wrong_is_told_at_once_in_order_and_nothing_is_loaded() {
    let files = [
        PolicyFile {
            name: "one.cedar".to_owned(),
            text: "@id(\"a\") permit (principal, action, resource);\n\
                   permit (principal, action == Action::\"Raed\", resource);"
                .to_owned(),
        },
        PolicyFile { name: "two.cedar".to_owned(), text: "nonsense".to_owned() },
        PolicyFile {
            name: "three.cedar".to_owned(),
            text: "\n@id(\"a\") permit (principal, action, resource);".to_owned(),
        },
    ];
    let error = Bundle::load(&files, &[], 1).unwrap_err();
    let places: Vec<(&str, usize)> =
        error.problems.iter().map(|problem| (problem.file.as_str(), problem.line)).collect();
    assert_eq!(
        places,
        [("one.cedar", 2), ("one.cedar", 2), ("two.cedar", 1), ("three.cedar", 2)],
        "{error}"
    );
}

#[test]
fn sizes_are_bounded() {
    let condition = "resource.name == \"x\" || ".repeat(1_000);
    let long = format!(
        "@id(\"a\") permit (principal, action, resource);\n@id(\"b\") permit (principal, action, \
         resource is Topic) when {{ {condition} true }};"
    );
    assert_eq!(problems(&long), "p.cedar:1:47: a policy, in bytes: 24071, and the limit is 8192");
    let large = "// padding\n".repeat(100_000);
    assert_eq!(
        problems(&large),
        "p.cedar:1:1: a policy file, in bytes: 1100000, and the limit is 1048576"
    );
}

/// On a stack of 2 MiB, as this one is, the first of them ended the process.
#[test]
fn the_deepest_conditions_that_fit_do_not_overflow_the_stack() {
    let rows: &[(&str, &str, &str, &str, bool)] = &[
        ("", "context.approved && ", "context.approved", "", true),
        ("0 < ", "1+", "1", "", true),
        ("", "(", "context.approved", ")", true),
        ("", "if context.approved then ", "true", " else false", true),
        ("0 < ", "-", "1", "", false),
        ("", "!", "true", "", false),
        ("resource.name == ", "[", "1", "]", false),
        ("", "{\"a\":", "1", "}", false),
        ("", "principal.", "x", "", false),
    ];
    for (before, open, middle, close, is_valid) in rows {
        let fixed = 160 + before.len() + middle.len();
        let depth = (POLICY_BYTES_MAX - fixed) / (open.len() + close.len());
        let (open, close) = (open.repeat(depth), close.repeat(depth));
        let text = format!(
            "@id(\"a\") @approvers(\"security\") permit (principal, action, resource) when {{ \
             {before}{open}{middle}{close} && context.approved }};"
        );
        let told = problems(&text);
        assert!(!told.contains("in bytes"), "it was to be read: {told}");
        assert_eq!(told.is_empty(), *is_valid, "{before}{middle}: {}", cut(&told));
        if *is_valid {
            // Shards have such a stack, too: Cedar's evaluator gives up in time, which denies.
            let session = Session::new(&load(&text).unwrap(), &[]);
            let verdict = session.decide(Action::Read, Resource::Topic("x")).verdict;
            assert_ne!(verdict, Verdict::Allow, "nobody approved");
        }
    }
}

#[test]
fn statements_are_measured_without_a_parser() {
    let rows = [
        ("", None),
        ("a", Some((0, 1))),
        ("ab;c", Some((0, 3))),
        ("a;bcd;", Some((2, 4))),
        ("a\";;\";b", Some((0, 6))),
        ("\"\\\";\";b", Some((0, 6))),
        ("// ;;\n;b", Some((0, 7))),
        ("a/;b", Some((0, 3))),
        ("\"//\";bb", Some((0, 5))),
        ("\"open;;", Some((0, 7))),
        ("\"\\", Some((0, 2))),
    ];
    for (text, expected) in rows {
        assert_eq!(longest_statement(text), expected, "{text}");
    }
}

#[test]
fn times_to_live() {
    let rows = [
        ("4h", Some(14_400_000)),
        ("30m", Some(1_800_000)),
        ("90s", Some(90_000)),
        ("30d", Some(2_592_000_000)),
        ("31d", None),
        ("0h", None),
        ("", None),
        ("h", None),
        ("4", None),
        ("-4h", None),
        ("+4h", None),
        ("4.5h", None),
        ("4h30m", None),
        ("9223372036854775807d", None),
        ("99999999999999999999s", None),
        ("4µ", None),
    ];
    for (text, expected) in rows {
        assert_eq!(parse_ttl(text), expected, "{text}");
    }
}

#[test]
fn the_hash_is_of_the_policies_and_not_of_where_they_stand() {
    let one = "@id(\"a\") permit (principal, action, resource);";
    let two = "@id(\"b\") forbid (principal, action, resource is Cluster);";
    let file = |name: &str, text: String| PolicyFile { name: name.to_owned(), text };
    let hash = |files: &[PolicyFile]| Bundle::load(files, &[], 1).unwrap().hash();
    let together = hash(&[file("x", format!("{one}\n{two}"))]);
    assert_eq!(together, hash(&[file("y", two.to_owned()), file("z", one.to_owned())]));
    assert_eq!(together, hash(&[file("x", format!("// why\n{two}\n\n{one}"))]));
    assert_ne!(together, hash(&[file("x", one.to_owned())]));
    let changed = two.replace("Cluster", "Topic");
    assert_ne!(together, hash(&[file("x", format!("{one}\n{changed}"))]));
}

#[test]
fn partitions_are_a_topic_and_an_index() {
    let rows = [
        ("payments-3", Some(("payments", 3))),
        ("a-b-0", Some(("a-b", 0))),
        ("x-2147483647", Some(("x", i32::MAX))),
        ("x-2147483648", None),
        ("x-03", None),
        ("x--1", Some(("x-", 1))),
        ("x-", None),
        ("-1", None),
        ("x", None),
        ("", None),
        ("x-+1", None),
    ];
    for (text, expected) in rows {
        assert_eq!(split_partition(text), expected, "{text}");
    }
}
