//! Requests under way: one for each schema, however many wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::RegistryError;
use crate::masking::schema::Schema;
use crate::masking::schema::frame::SchemaId;

/// How many schemas are fetched at a time. More are refused at once, because whoever writes records
/// can name ever new ones.
const FLIGHTS_MAX: usize = 64;

/// What all who wait for a schema are told.
pub(super) type Flight = OnceCell<Result<Arc<Schema>, RegistryError>>;

/// Each with how many sit in it, which are counted under the lock: nobody leaves unseen.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<SchemaId, (Arc<Flight>, usize)>>);

/// One who waits. The last to leave ends the flight.
#[derive(Debug)]
pub(super) struct Seat<'f> {
    flights: &'f Flights,
    id: SchemaId,
    flight: Arc<Flight>,
}

impl Flights {
    /// Joins the flight of a schema, or begins it.
    pub(super) fn join(&self, id: SchemaId) -> Result<Seat<'_>, RegistryError> {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = flights.len() >= FLIGHTS_MAX;
        if is_full && !flights.contains_key(&id) {
            return Err(RegistryError::Busy { limit: FLIGHTS_MAX });
        }
        let (flight, seats) = flights.entry(id).or_default();
        *seats = seats.saturating_add(1);
        Ok(Seat { flights: self, id, flight: Arc::clone(flight) })
    }
}

impl Seat<'_> {
    pub(super) fn flight(&self) -> &Flight {
        &self.flight
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut flights = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, seats)) = flights.get_mut(&self.id) {
            *seats = seats.saturating_sub(1);
            if *seats == 0 {
                flights.remove(&self.id);
            }
        }
    }
}
