//! Proving an archive without the log: every file's hash, every record's checksums, the chain from the first record to the last, and that
//! each segment comes out byte for byte.

use std::path::PathBuf;

use serde::Serialize;

use crate::archive::error::ArchiveError;
use crate::archive::location;
use crate::archive::manifest::{Joint, Manifest};
use crate::archive::store::Store;
use crate::archive::walk::{ASK_BYTES, Met, walk};
use crate::audit::receipt::LogId;

/// Most problems that a report names; the rest are counted.
pub const PROBLEMS_MAX: usize = 1_000;

/// An archive that is only read. Needs no lock: what the manifest names is there, at any time but the moment after a merge, when a reader of
/// the manifest before it may miss a file, and asks again.
#[derive(Debug)]
pub struct ArchiveReader {
    pub(crate) store: Box<dyn Store>,
    pub(crate) scratch: PathBuf,
}

/// What was found.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
pub struct ArchiveReport {
    /// The log; none of an empty archive.
    pub log_id: Option<LogId>,
    /// Segments that are whole in it.
    pub segments: u64,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// Good records.
    pub records: u64,
    /// Their bytes.
    pub record_bytes: u64,
    /// The record that the chain begins after: genesis, or what retention has removed last.
    pub base: Option<Joint>,
    /// The last record.
    pub head: Option<Joint>,
    /// How many problems there are.
    pub problems_total: u64,
    /// The first `PROBLEMS_MAX` of them.
    pub problems: Vec<String>,
}

impl ArchiveReport {
    fn problem(&mut self, problem: String) {
        self.problems_total += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }

    /// Whether nothing is wrong.
    pub const fn is_good(&self) -> bool {
        self.problems_total == 0
    }
}

impl ArchiveReader {
    /// Of that archive.
    pub fn open(url: &str) -> Result<Self, ArchiveError> {
        Ok(Self { store: location::store(url)?, scratch: std::env::temp_dir() })
    }

    /// The manifest.
    pub fn manifest(&self) -> Manifest<'_> {
        Manifest(&*self.store)
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        self.store.place()
    }

    /// Checks all of it. A damaged file does not end the walk: it goes on behind it. `go_on` is told how many bytes of records were
    /// checked since it was asked last, and `false` ends it.
    pub fn verify(&self, go_on: &dyn Fn(u64) -> bool) -> Result<ArchiveReport, ArchiveError> {
        let manifest = self.manifest();
        let mut report = ArchiveReport::default();
        for name in manifest.chapters()? {
            let chapter = match manifest.load(name) {
                Ok(chapter) => chapter,
                Err(error @ ArchiveError::Damaged { .. }) => {
                    report.problem(error.to_string());
                    continue;
                }
                Err(error) => return Err(error),
            };
            if report.log_id.is_some_and(|log_id| log_id != chapter.log_id) {
                report.problem(format!("chapter {name} is of log {}", chapter.log_id));
                continue;
            }
            match report.head {
                Some(head) if head != chapter.base => report.problem(format!(
                    "chapter {name} goes on from record {}, hash {}; the one before ends with record {}, hash {}",
                    chapter.base.sequence, chapter.base.hash, head.sequence, head.hash
                )),
                _ => {}
            }
            report.log_id = Some(chapter.log_id);
            report.base = report.base.or(Some(chapter.base));
            report.files += chapter.files.len() as u64;
            report.file_bytes += chapter.files.iter().map(|file| file.bytes).sum::<u64>();
            let mut rest = chapter.clone();
            while !rest.files.is_empty() {
                let mut good = 0;
                let (mut records, mut bytes, mut unasked, mut segments) = (0, 0, 0, 0);
                let walked = walk(&*self.store, &self.scratch, &rest, &mut |met| {
                    match met {
                        Met::Record(_, record, _) => {
                            records += 1;
                            bytes += record.len() as u64;
                            unasked += record.len() as u64;
                        }
                        Met::SegmentEnds(_) => segments += 1,
                        Met::FileEnds(_) => good += 1,
                        Met::SegmentBegins(..) => {}
                    }
                    let is_due = unasked >= ASK_BYTES;
                    if is_due && !go_on(std::mem::take(&mut unasked)) {
                        return Err(ArchiveError::Stopped);
                    }
                    Ok(())
                });
                report.records += records;
                report.record_bytes += bytes;
                report.segments += segments;
                match walked {
                    Ok(()) => break,
                    Err(ArchiveError::Stopped) => return Err(ArchiveError::Stopped),
                    Err(error) => report.problem(error.to_string()),
                }
                // Behind the file that is not good. That segments lie in both is said by the problem.
                let Some(next) = rest.files.get(good + 1).map(|file| file.first_sequence) else { break };
                rest = rest.part(next, u64::MAX);
            }
            report.head = Some(chapter.files.last().map_or(chapter.base, |file| file.last));
        }
        Ok(report)
    }
}
