//! The masking actor.
