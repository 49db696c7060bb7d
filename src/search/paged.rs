//! Files in pages of 4 KiB, each with a checksum of its own: what is read is checked, and little is read to answer little.
//!
//! Addresses are those of the payload, as if there were no checksums. Page 0 is the header's.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;

/// Length of a page.
pub const PAGE_BYTES: usize = 4096;
/// What a page holds beside its checksum.
pub const PAYLOAD_BYTES: usize = PAGE_BYTES - 4;
/// Bytes that are written at once.
const WRITE_BYTES: usize = 256 * 1024;

/// A page whose bytes are not those that were written.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its checksum is wrong, or the file is too short.
    #[error("page {0} is damaged")]
    Damaged(u64),
}

/// Writes the payload from the beginning to the end, and the header last.
#[derive(Debug)]
pub(crate) struct PagedWriter {
    output: BufWriter<File>,
    page: Vec<u8>,
    written: u64,
}

impl PagedWriter {
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let mut output = BufWriter::with_capacity(WRITE_BYTES, file);
        output.write_all(&[0; PAGE_BYTES])?;
        Ok(Self { output, page: Vec::with_capacity(PAGE_BYTES), written: 0 })
    }

    /// The address of what is written next.
    pub(crate) const fn at(&self) -> u64 {
        self.written
    }

    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PAYLOAD_BYTES - self.page.len()));
            self.page.extend_from_slice(now);
            bytes = later;
            if self.page.len() == PAYLOAD_BYTES {
                self.flush_page()?;
            }
        }
        Ok(())
    }

    fn flush_page(&mut self) -> io::Result<()> {
        self.page.resize(PAYLOAD_BYTES, 0);
        self.output.write_all(&self.page)?;
        self.output.write_all(&crc32c::crc32c(&self.page).to_le_bytes())?;
        self.page.clear();
        Ok(())
    }

    /// Writes the last page and the header, and brings all to stable storage.
    pub(crate) fn finish(mut self, header: &[u8]) -> io::Result<()> {
        if !self.page.is_empty() {
            self.flush_page()?;
        }
        let file = self.output.into_inner().map_err(io::IntoInnerError::into_error)?;
        let mut page = header.to_vec();
        if page.len() > PAYLOAD_BYTES {
            return Err(io::Error::other("the header of an index does not fit into a page"));
        }
        page.resize(PAYLOAD_BYTES, 0);
        page.extend_from_slice(&crc32c::crc32c(&page).to_le_bytes());
        file.write_all_at(&page, 0)?;
        file.sync_data()
    }
}

/// The payload of the header's page.
pub(crate) fn read_header(file: &File) -> Result<Vec<u8>, PageError> {
    let mut page = vec![0; PAGE_BYTES];
    read_pages(file, 0, &mut page)?;
    page.truncate(PAYLOAD_BYTES);
    Ok(page)
}

/// The payload from `start` on, `length` bytes of it.
pub(crate) fn read(file: &File, start: u64, length: usize) -> Result<Vec<u8>, PageError> {
    if length == 0 {
        return Ok(Vec::new());
    }
    let payload = PAYLOAD_BYTES as u64;
    let (first, last) = (start / payload, (start + length as u64 - 1) / payload);
    let pages = usize::try_from(last - first + 1).unwrap_or(usize::MAX);
    let mut bytes = vec![0; pages.saturating_mul(PAGE_BYTES)];
    read_pages(file, first + 1, &mut bytes)?;
    for page in 1..pages {
        bytes.copy_within(page * PAGE_BYTES..page * PAGE_BYTES + PAYLOAD_BYTES, page * PAYLOAD_BYTES);
    }
    let begin = usize::try_from(start % payload).unwrap_or(usize::MAX);
    bytes.truncate(begin + length);
    bytes.drain(..begin);
    Ok(bytes)
}

fn read_pages(file: &File, first: u64, bytes: &mut [u8]) -> Result<(), PageError> {
    match file.read_exact_at(bytes, first * PAGE_BYTES as u64) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(PageError::Damaged(first)),
        Err(error) => return Err(error.into()),
    }
    for (number, page) in bytes.chunks_exact(PAGE_BYTES).enumerate() {
        let (payload, crc) = page.split_at(PAYLOAD_BYTES);
        if crc32c::crc32c(payload).to_le_bytes() != crc {
            return Err(PageError::Damaged(first + number as u64));
        }
    }
    Ok(())
}
