//! Tickets and grants in a file, so that a restart forgets neither a question nor an answer. The record log tells how
//! they came to be; this says only what holds now.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::desk::Desk;
use super::grant::Grant;
use super::ticket::Ticket;

/// Why the file cannot be used.
#[derive(Debug, Error)]
pub enum KeptError {
    /// The system's reason.
    #[error("`{path}`: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It does not read as tickets and grants.
    #[error(
        "`{path}` does not hold tickets and grants: {source}; move it aside to start without any"
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct Kept {
    tickets: Vec<Ticket>,
    grants: Vec<Grant>,
}

/// What was kept; an empty desk where there is no file.
pub(super) fn load(path: &Path) -> Result<Desk, KeptError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Desk::default()),
        Err(source) => return Err(KeptError::File { path: path.to_owned(), source }),
    };
    let kept: Kept = serde_json::from_slice(&text)
        .map_err(|source| KeptError::Content { path: path.to_owned(), source })?;
    Ok(Desk::restore(kept.tickets, kept.grants))
}

/// Replaces the file as a whole; after a crash it holds either the old desk or the new one.
pub(super) fn save(path: &Path, desk: &Desk) -> Result<(), KeptError> {
    let failed = |source| KeptError::File { path: path.to_owned(), source };
    // The latest answered ticket comes first in a list, and last in the order in which they are restored.
    let (pending, mut answered): (Vec<_>, Vec<_>) =
        desk.tickets().cloned().partition(Ticket::is_pending);
    answered.reverse();
    let tickets = pending.into_iter().chain(answered).collect();
    let grants = desk.grants().map(|grant| Grant::clone(grant)).collect();
    let text = serde_json::to_vec(&Kept { tickets, grants })
        .map_err(|source| KeptError::Content { path: path.to_owned(), source })?;
    let beside = path.with_extension("json.new");
    // What a crash left there might be readable by others.
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file =
        options.write(true).create_new(true).mode(0o600).open(&beside).map_err(failed)?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&beside, path).map_err(failed)?;
    // The new name survives the machine too.
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}
