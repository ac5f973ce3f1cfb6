//! The recorder actor.
