//! The schema that policies are validated against, and its names, parsed once per bundle.

use std::str::FromStr;

use cedar_policy::{EntityId, EntityTypeName, EntityUid, Schema};

use crate::vocabulary::{Action, Resource};

/// The text of the schema, as `docs/POLICY.md` shows it.
pub const SCHEMA_TEXT: &str = include_str!("schema.cedarschema");

/// What a policy can be asked about: the actions of requests, and the obligations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Question {
    /// An action of a request.
    Act(Action),
    /// Is this label shown in clear?
    Unmask,
    /// May this topic's payloads be left out of the record?
    SkipPayload,
}

/// A kind of resource by which rules are indexed; a partition belongs to the kind of its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Topics and their partitions.
    Topic,
    /// Consumer groups.
    ConsumerGroup,
    /// Transactional ids.
    TransactionalId,
    /// The cluster.
    Cluster,
    /// Labels of masking rules.
    Label,
}

/// The schema and the names in it, as Cedar holds them.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) schema: Schema,
    pub(super) user: EntityTypeName,
    pub(super) group: EntityTypeName,
    pub(super) cluster: EntityTypeName,
    pub(super) topic: EntityTypeName,
    pub(super) partition: EntityTypeName,
    pub(super) consumer_group: EntityTypeName,
    pub(super) transactional_id: EntityTypeName,
    pub(super) label: EntityTypeName,
    /// In the order of [`Question::ALL`].
    actions: Vec<EntityUid>,
}

impl Question {
    /// Every question, in the order of [`Question::index`].
    pub(super) const ALL: [Self; 12] = [
        Self::Act(Action::Read),
        Self::Act(Action::Write),
        Self::Act(Action::Create),
        Self::Act(Action::Delete),
        Self::Act(Action::Alter),
        Self::Act(Action::Describe),
        Self::Act(Action::DescribeConfigs),
        Self::Act(Action::AlterConfigs),
        Self::Act(Action::IdempotentWrite),
        Self::Act(Action::ClusterAction),
        Self::Unmask,
        Self::SkipPayload,
    ];

    /// The place in [`Question::ALL`].
    pub(super) fn index(self) -> usize {
        match self {
            Self::Act(Action::Read) => 0,
            Self::Act(Action::Write) => 1,
            Self::Act(Action::Create) => 2,
            Self::Act(Action::Delete) => 3,
            Self::Act(Action::Alter) => 4,
            Self::Act(Action::Describe) => 5,
            Self::Act(Action::DescribeConfigs) => 6,
            Self::Act(Action::AlterConfigs) => 7,
            Self::Act(Action::IdempotentWrite) => 8,
            Self::Act(Action::ClusterAction) => 9,
            Self::Unmask => 10,
            Self::SkipPayload => 11,
        }
    }

    /// Whether it is not about what a request may do, but about what goes with it.
    pub(super) fn is_obligation(self) -> bool {
        matches!(self, Self::Unmask | Self::SkipPayload)
    }

    /// The action's name in the schema.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Act(action) => action.name(),
            Self::Unmask => "unmask",
            Self::SkipPayload => "skipPayload",
        }
    }
}

impl Kind {
    /// How many kinds there are.
    pub(super) const COUNT: usize = 5;

    /// A dense number below [`Kind::COUNT`].
    pub(super) fn index(self) -> usize {
        match self {
            Self::Topic => 0,
            Self::ConsumerGroup => 1,
            Self::TransactionalId => 2,
            Self::Cluster => 3,
            Self::Label => 4,
        }
    }

    /// The kind of a resource of a request.
    pub(super) fn of(resource: Resource<'_>) -> Self {
        match resource {
            Resource::Topic(_) | Resource::Partition { .. } => Self::Topic,
            Resource::ConsumerGroup(_) => Self::ConsumerGroup,
            Resource::TransactionalId(_) => Self::TransactionalId,
            Resource::Cluster => Self::Cluster,
        }
    }
}

impl Names {
    /// Parses the built-in schema.
    ///
    /// # Errors
    ///
    /// Where the schema that this program was built with is not one, which a test rules out.
    pub(super) fn parse() -> Result<Self, String> {
        let (schema, _warnings) =
            Schema::from_cedarschema_str(SCHEMA_TEXT).map_err(|error| error.to_string())?;
        let name = |text: &str| EntityTypeName::from_str(text).map_err(|error| error.to_string());
        let action_type = name("Action")?;
        let actions =
            Question::ALL.iter().map(|question| uid(&action_type, question.name())).collect();
        Ok(Self {
            schema,
            user: name("User")?,
            group: name("Group")?,
            cluster: name("Cluster")?,
            topic: name("Topic")?,
            partition: name("Partition")?,
            consumer_group: name("ConsumerGroup")?,
            transactional_id: name("TransactionalId")?,
            label: name("Label")?,
            actions,
        })
    }

    /// The action's entity; `None` never happens for a parsed schema.
    pub(super) fn action(&self, question: Question) -> Option<&EntityUid> {
        self.actions.get(question.index())
    }

    /// The question that an action's entity stands for.
    pub(super) fn question(&self, action: &EntityUid) -> Option<Question> {
        let index = self.actions.iter().position(|known| known == action)?;
        Question::ALL.get(index).copied()
    }

    /// The kind of a resource's type, with `Partition` under its topic.
    pub(super) fn kind(&self, name: &EntityTypeName) -> Option<Kind> {
        if *name == self.topic || *name == self.partition {
            Some(Kind::Topic)
        } else if *name == self.consumer_group {
            Some(Kind::ConsumerGroup)
        } else if *name == self.transactional_id {
            Some(Kind::TransactionalId)
        } else if *name == self.cluster {
            Some(Kind::Cluster)
        } else if *name == self.label {
            Some(Kind::Label)
        } else {
            None
        }
    }
}

/// An entity's name of a type and an id, which is taken as it is.
pub(super) fn uid(name: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(name.clone(), EntityId::new(id))
}

/// Splits `<topic>-<index>`; `None` where the text is not one, in the one spelling that it has.
pub(super) fn split_partition(id: &str) -> Option<(&str, i32)> {
    let (topic, digits) = id.rsplit_once('-')?;
    let canonical = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    let index = digits.parse::<i32>().ok()?;
    (canonical && !topic.is_empty()).then_some((topic, index))
}
