//! The policy actor.
