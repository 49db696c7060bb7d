//! The frames that snapshots are written in: kind (u8), length (u32), CRC-32C of kind and content (u32), content; all little-endian.

use std::io::{self, Read, Write};

use thiserror::Error;

/// Longest frame.
const FRAME_BYTES_MAX: u32 = 1 << 30;
/// Bytes of a frame before its content.
const HEAD_BYTES: u64 = 9;

/// One frame.
#[derive(Debug)]
pub struct Frame {
    /// What it is: each format has its own kinds.
    pub kind: u8,
    /// What it says.
    pub content: Vec<u8>,
}

/// Why a frame cannot be read.
#[derive(Debug, Error)]
pub enum FrameError {
    /// It ends too early, or the disk fails.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Bytes that were not written like that.
    #[error("{0}")]
    Damaged(&'static str),
}

impl Frame {
    /// How many bytes it is long.
    pub fn bytes(&self) -> u64 {
        HEAD_BYTES + self.content.len() as u64
    }

    /// Reads the next one.
    pub fn read(input: &mut impl Read) -> Result<Self, FrameError> {
        let mut kind = [0];
        input.read_exact(&mut kind)?;
        let (length, expected) = (read_u32(input)?, read_u32(input)?);
        if length > FRAME_BYTES_MAX {
            return Err(FrameError::Damaged("a frame is too long"));
        }
        // Not allocated in advance: a damaged length must not cost memory.
        let mut content = Vec::new();
        let read = input.by_ref().take(length.into()).read_to_end(&mut content)?;
        if read as u64 != u64::from(length) {
            return Err(FrameError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        if checksum(kind[0], &content) != expected {
            return Err(FrameError::Damaged("a checksum does not match"));
        }
        Ok(Self { kind: kind[0], content })
    }
}

/// Writes one, and says how many bytes it is long.
pub fn write_frame(out: &mut impl Write, kind: u8, content: &[u8]) -> io::Result<u64> {
    let length = u32::try_from(content.len()).ok().filter(|length| *length <= FRAME_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other("a part is too large for a snapshot"))?;
    out.write_all(&[kind])?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&checksum(kind, content).to_le_bytes())?;
    out.write_all(content)?;
    Ok(HEAD_BYTES + u64::from(length))
}

/// Reads a number outside of frames, such as a version.
pub fn read_u32(input: &mut impl Read) -> io::Result<u32> {
    let mut word = [0; 4];
    input.read_exact(&mut word)?;
    Ok(u32::from_le_bytes(word))
}

fn checksum(kind: u8, content: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&[kind]), content)
}
