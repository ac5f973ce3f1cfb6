//! Signed heads: what the gateway swears that its log held at an instant.
//!
//! One head a line in `heads.log`: `<signature, 128 hexadecimal digits> <the head as JSON>`. The signature covers the
//! words `sluicegate head 1`, a line feed, and the JSON text as it stands. Each head names the hash of the line before
//! it, so heads are a chain of their own. A head lists the shards whose log grew; the first head of a run lists all.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::vocabulary::UnixMillis;

use super::chain::{ChainHash, LogPlace};
use super::keys::{RecordKey, RecordPublicKey};

/// What the gateway swears.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its number: from 0, without gaps.
    pub head: u64,
    /// When it was made.
    pub made_at: UnixMillis,
    /// The gateway's id, as 32 hexadecimal digits.
    pub gateway: String,
    /// The hash of the line before it; zeros for the first.
    pub previous: ChainHash,
    /// How far each shard's log had come, where it grew since the head before.
    pub shards: Vec<LogPlace>,
    /// Where each shard's log begins, where retention or a start changed it.
    pub begins: Vec<LogPlace>,
}

/// Why heads cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// The file system refused.
    #[error("heads `{path}` cannot be read or written: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line was altered, or is signed by another key.
    #[error("heads `{path}`, line {line}: {reason}")]
    Unsound {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// The file of heads, open to be appended to.
#[derive(Debug)]
pub struct HeadLog {
    path: PathBuf,
    file: File,
    next: u64,
    previous: ChainHash,
}

impl HeadLog {
    /// Opens `heads.log` below the data directory behind its last whole line; a torn last line is cut away. Returns the
    /// recent heads too.
    ///
    /// # Errors
    ///
    /// [`HeadError`]; also where a recent line is not signed by `key`.
    pub fn open(data: &Path, key: &RecordPublicKey) -> Result<(Self, Vec<Head>), HeadError> {
        let path = data.join(HEADS_FILE);
        let (heads, whole) = read_heads(data, key, HeadsRead::Recent)?;
        let io = |source| HeadError::Io { path: path.clone(), source };
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).mode(0o600).open(&path).map_err(io)?;
        if file.metadata().map_err(io)?.len() > whole {
            file.set_len(whole).map_err(io)?;
        }
        let next = heads.last().map_or(0, |(head, _)| head.head.saturating_add(1));
        let previous = heads.last().map_or(ChainHash([0; 32]), |(_, hash)| *hash);
        let heads = heads.into_iter().map(|(head, _)| head).collect();
        Ok((Self { path, file, next, previous }, heads))
    }

    /// Signs and appends a head, and returns it with its line, to be copied off the machine.
    ///
    /// # Errors
    ///
    /// [`HeadError::Io`]; the head is then not made, and its number is given again.
    pub fn append(
        &mut self,
        key: &RecordKey,
        gateway: [u8; 16],
        made_at: UnixMillis,
        shards: Vec<LogPlace>,
        begins: Vec<LogPlace>,
    ) -> Result<(Head, String), HeadError> {
        let gateway = format!("{:032x}", u128::from_be_bytes(gateway));
        let previous = self.previous;
        let head = Head { head: self.next, made_at, gateway, previous, shards, begins };
        let io = |source| HeadError::Io { path: self.path.clone(), source };
        let json = serde_json::to_string(&head).map_err(|error| io(error.into()))?;
        let line = format!("{} {json}\n", hex(&key.sign(&signed_text(&json))));
        let before = self.file.metadata().map_err(io)?.len();
        if let Err(source) = self.file.write_all(line.as_bytes()) {
            // A part of a line would spoil the next one; if it cannot be cut now, the next start cuts it.
            drop(self.file.set_len(before));
            return Err(io(source));
        }
        self.next = self.next.saturating_add(1);
        self.previous = line_hash(line.trim_end());
        Ok((head, line))
    }

    /// Drops heads made before `until`, except the last one.
    ///
    /// # Errors
    ///
    /// [`HeadError`]; the file is then as it was.
    pub fn drop_before(&mut self, until: UnixMillis) -> Result<(), HeadError> {
        let io = |source| HeadError::Io { path: self.path.clone(), source };
        let text = std::fs::read_to_string(&self.path).map_err(io)?;
        let lines: Vec<&str> = text.lines().collect();
        let made = |line: &str| parse_line(line).map(|(_, _, head)| head.made_at);
        let old = lines.iter().take_while(|line| made(line).is_ok_and(|at| at < until)).count();
        let kept = lines.get(old.min(lines.len().saturating_sub(1))..).unwrap_or_default();
        let temporary = self.path.with_extension("new");
        let write = || {
            let mut options = OpenOptions::new();
            options.create(true).write(true).truncate(true).mode(0o600);
            let mut file = options.open(&temporary)?;
            for line in kept {
                writeln!(file, "{line}")?;
            }
            file.sync_all()?;
            std::fs::rename(&temporary, &self.path)?;
            OpenOptions::new().append(true).open(&self.path)
        };
        self.file = write().map_err(io)?;
        Ok(())
    }

    /// Returns once all heads are on the disk.
    ///
    /// # Errors
    ///
    /// [`HeadError::Io`].
    pub fn sync(&self) -> Result<(), HeadError> {
        self.file.sync_data().map_err(|source| HeadError::Io { path: self.path.clone(), source })
    }
}

/// How much of the heads is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadsRead {
    /// All of them.
    All,
    /// The last [`HEADS_RECENT_BYTES`]: enough to go on from, without checking a year of signatures.
    Recent,
}

/// Heads, each with its line's hash, and where the last whole line ends. No file is no heads.
///
/// # Errors
///
/// [`HeadError`], where a line is not signed by `key`, or does not follow from the one before it.
pub fn read_heads(
    data: &Path,
    key: &RecordPublicKey,
    read: HeadsRead,
) -> Result<(Vec<(Head, ChainHash)>, u64), HeadError> {
    let path = data.join(HEADS_FILE);
    let (text, mut whole) = match read_lines(&path, read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(source) => return Err(HeadError::Io { path, source }),
        Ok(lines) => lines,
    };
    let mut heads: Vec<(Head, ChainHash)> = Vec::new();
    for (index, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let Some(bytes) = line.strip_suffix(b"\n") else { break };
        let line_number = index.saturating_add(1);
        let unsound = |reason| HeadError::Unsound { path: path.clone(), line: line_number, reason };
        let text = std::str::from_utf8(bytes).map_err(|_| unsound("is not text"))?;
        let (signature, json, head) = parse_line(text).map_err(unsound)?;
        if !key.verifies(&signed_text(json), &signature) {
            return Err(unsound("is not signed by the record key"));
        }
        if let Some((before, hash)) = heads.last()
            && (head.previous != *hash || head.head != before.head.saturating_add(1))
        {
            return Err(unsound("does not follow from the line before it"));
        }
        heads.push((head, line_hash(text)));
        whole = whole.saturating_add(super::segment::wide(line.len()));
    }
    Ok((heads, whole))
}

/// The file's bytes from the beginning of a line on, and where that line begins.
fn read_lines(path: &Path, read: HeadsRead) -> io::Result<(Vec<u8>, u64)> {
    let mut file = File::open(path)?;
    let skipped = match read {
        HeadsRead::All => 0,
        HeadsRead::Recent => file.metadata()?.len().saturating_sub(HEADS_RECENT_BYTES),
    };
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(skipped))?;
    file.read_to_end(&mut text)?;
    if skipped == 0 {
        return Ok((text, 0));
    }
    let first = memchr::memchr(b'\n', &text).map_or(text.len(), |at| at.saturating_add(1));
    text.drain(..first);
    Ok((text, skipped.saturating_add(super::segment::wide(first))))
}

fn parse_line(line: &str) -> Result<(Vec<u8>, &str, Head), &'static str> {
    let (signature, json) = line.split_once(' ').ok_or("has no signature")?;
    let signature = unhex(signature).ok_or("has no signature")?;
    let head = serde_json::from_str(json).map_err(|_| "is not a head")?;
    Ok((signature, json, head))
}

fn signed_text(json: &str) -> Vec<u8> {
    [b"sluicegate head 1\n", json.as_bytes()].concat()
}

fn line_hash(line: &str) -> ChainHash {
    ChainHash(*blake3::hash(line.as_bytes()).as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

/// How many bytes of heads are recent: more than a few full heads of many shards.
pub const HEADS_RECENT_BYTES: u64 = 1 << 20;

/// The file of heads, below the data directory.
pub const HEADS_FILE: &str = "heads.log";
