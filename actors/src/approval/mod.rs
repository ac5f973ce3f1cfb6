//! The approval actor.

pub mod desk;
pub mod grant;
pub mod ticket;
