//! The approval actor.
