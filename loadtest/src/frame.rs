//! Frames as they come off a socket, into a buffer that is used again and again.

use std::io::{ErrorKind, Read};

use anyhow::{Context, ensure};
use bytes::{Bytes, BytesMut};

/// Reads one frame without its length; `None` where the peer closed between frames. The memory comes back to `buffer`
/// when the frame and all that was cut from it are dropped.
///
/// # Errors
/// Where the socket fails, the peer closes within a frame, or the length is negative or above [`FRAME_BYTES_MAX`].
pub fn read(reader: &mut impl Read, buffer: &mut BytesMut) -> anyhow::Result<Option<Bytes>> {
    let mut length = [0; 4];
    match reader.read_exact(&mut length) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read.context("cannot read a frame's length")?,
    }
    let length = usize::try_from(i32::from_be_bytes(length)).context("negative frame length")?;
    ensure!(length <= FRAME_BYTES_MAX, "frame of {length} bytes, more than {FRAME_BYTES_MAX}");
    buffer.clear();
    buffer.resize(length, 0);
    reader.read_exact(buffer).context("a frame that ends early")?;
    Ok(Some(buffer.split().freeze()))
}

/// As Kafka's own `socket.request.max.bytes`.
pub const FRAME_BYTES_MAX: usize = 100 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_to_their_end() {
        for (bytes, wanted) in [
            (&[][..], Ok(None)),
            (&[0, 0, 0, 0], Ok(Some(&[][..]))),
            (&[0, 0, 0, 2, 7, 8, 9], Ok(Some(&[7, 8]))),
            (&[0, 0, 0, 2, 7], Err(())),
            (&[255, 255, 255, 255], Err(())),
            (&[127, 255, 255, 255], Err(())),
        ] {
            let read = read(&mut &*bytes, &mut BytesMut::new());
            let read = read.map_err(|_| ());
            assert_eq!(read, wanted.map(|frame| frame.map(Bytes::from_static)), "{bytes:?}");
        }
    }
}
