//! The policies of the gateway: one bundle for the process, one slice and snapshot for each session.

pub mod bundle;
pub mod cache;
pub mod decide;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod problem;
pub mod rule;
pub mod schema;
mod shadow;
pub mod slice;
pub mod snapshot;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;

use crate::session::SessionFacts;
use crate::vocabulary::UnixMillis;

use bundle::{Bundle, PolicyFile};
use decide::{Asker, AskerError, RequestContext};
use problem::BundleError;
use slice::Slices;
use snapshot::PolicySnapshot;

/// The bundle in force, and what compiles sessions from it. Used on the control plane alone, never on a shard.
#[derive(Debug)]
pub struct Policies {
    files: Vec<PathBuf>,
    approvers: Vec<String>,
    slices: Mutex<Slices>,
}

/// What tells a file from what it was before. Its times alone would not: they stand still for some milliseconds, and a file
/// that is replaced twice within that was looked at in between, if things go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMark {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Why a bundle was refused; the old one stays.
#[derive(Debug, Error)]
pub enum PoliciesError {
    /// A file cannot be read.
    #[error("cannot read `{path}`: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Not a bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

impl Policies {
    /// Loads the first bundle.
    ///
    /// # Errors
    ///
    /// [`PoliciesError`] with file, line and reason.
    pub fn load(files: Vec<PathBuf>, approvers: Vec<String>) -> Result<Self, PoliciesError> {
        let bundle = Bundle::load(&read(&files)?, &approvers, 1)?;
        Ok(Self { files, approvers, slices: Mutex::new(Slices::new(Arc::new(bundle))) })
    }

    /// Loads the files again. `Some` with the new bundle where it differs: sessions must be compiled again.
    ///
    /// # Errors
    ///
    /// [`PoliciesError`]; the bundle in force stays.
    pub fn reload(&self) -> Result<Option<Arc<Bundle>>, PoliciesError> {
        let (epoch, hash) = {
            let slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
            (slices.bundle().epoch(), slices.bundle().hash())
        };
        let files = read(&self.files)?;
        let bundle = Bundle::load(&files, &self.approvers, epoch.saturating_add(1))?;
        if bundle.hash() == hash {
            return Ok(None);
        }
        let bundle = Arc::new(bundle);
        let mut slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        *slices = Slices::new(Arc::clone(&bundle));
        Ok(Some(bundle))
    }

    /// What tells each file from what it was before; `None` for one that is not there.
    #[must_use]
    pub fn file_marks(&self) -> Vec<Option<FileMark>> {
        self.files.iter().map(|path| FileMark::of(path).ok()).collect()
    }

    /// The bundle in force.
    #[must_use]
    pub fn bundle(&self) -> Arc<Bundle> {
        let slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slices.bundle())
    }

    /// What a session decides by. `cluster` is the one behind its listener.
    ///
    /// # Errors
    ///
    /// [`AskerError`]: the session must be refused.
    pub fn compile(
        &self,
        facts: &SessionFacts,
        cluster: &str,
        now: UnixMillis,
    ) -> Result<PolicySnapshot, AskerError> {
        let slice = {
            let mut slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
            slices.slice_for(&facts.identity)
        };
        let context = RequestContext {
            address: facts.address,
            client_id: facts.client_id.to_string(),
            listener: facts.listener.to_string(),
            login: facts.login.to_owned(),
            cluster: cluster.to_owned(),
        };
        let asker = Asker::new(&slice, &facts.identity, context, now)?;
        Ok(PolicySnapshot::new(slice, asker))
    }
}

impl FileMark {
    fn of(path: &Path) -> std::io::Result<Self> {
        let found = std::fs::metadata(path)?;
        Ok(Self {
            inode: found.ino(),
            bytes: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

fn read(files: &[PathBuf]) -> Result<Vec<PolicyFile>, PoliciesError> {
    let one = |path: &PathBuf| {
        let text = std::fs::read_to_string(path)
            .map_err(|source| PoliciesError::Read { path: path.clone(), source })?;
        Ok(PolicyFile { name: Path::display(path).to_string(), text })
    };
    files.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn a_file_that_is_replaced_has_another_mark_whatever_its_times() {
        let folder = tempfile::tempdir().unwrap();
        let [path, fresh] = ["policy.cedar", "policy.new"].map(|name| folder.path().join(name));
        let mark_of = |text: &str| {
            fs::write(&fresh, text).unwrap();
            let file = File::options().write(true).open(&fresh).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
            fs::rename(&fresh, &path).unwrap();
            FileMark::of(&path).unwrap()
        };
        let (first, second) = (mark_of("permit"), mark_of("forbid"));
        assert_ne!(first, second);
        assert_eq!(second, FileMark::of(&path).unwrap());
        assert_eq!((first.modified, first.bytes), (second.modified, second.bytes));
    }
}
