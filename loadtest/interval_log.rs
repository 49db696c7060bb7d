//! Latencies of each second, as a file that the tools around HdrHistogram read.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use tollgate::domain::time::{Clock, SystemClock};

use crate::load::measured::Measured;

/// Microseconds of a millisecond: the column of maxima is in milliseconds.
const MAX_VALUE_DIVISOR: f64 = 1_000.0;

/// A log of intervals. Nothing is written before there is something to write, so that no interval is left out.
pub(crate) struct IntervalLog {
    path: PathBuf,
    file: BufWriter<File>,
    serializer: V2DeflateSerializer,
    /// From the start of the run to the end of the last interval.
    at: Duration,
    has_begun: bool,
}

impl IntervalLog {
    /// Creates the file.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("{}: cannot be created", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
            serializer: V2DeflateSerializer::new(),
            at: Duration::ZERO,
            has_begun: false,
        })
    }

    /// Writes one interval, the one after the last.
    pub(crate) fn write(&mut self, interval: &Measured, took: Duration) -> anyhow::Result<()> {
        let path = self.path.clone();
        let failed = || format!("{}: cannot be written", path.display());
        let mut lines = Vec::new();
        let mut builder = IntervalLogWriterBuilder::new();
        builder.with_max_value_divisor(MAX_VALUE_DIVISOR);
        if !self.has_begun {
            let now_ms = SystemClock.now().unix_millis().unsigned_abs();
            let start = std::time::UNIX_EPOCH + Duration::from_millis(now_ms).saturating_sub(took);
            builder.add_comment("tollgate load: latency in microseconds, from when a request was due");
            builder.with_start_time(start).with_base_time(start);
        }
        let mut writer = builder.begin_log_with(&mut lines, &mut self.serializer).with_context(failed)?;
        for (tag, histogram) in [
            (None, &interval.latency_us),
            (Some("exchange"), &interval.exchange_us),
            (Some("lag"), &interval.lag_us),
        ] {
            writer
                .write_histogram(histogram, self.at, took, tag.and_then(Tag::new))
                .map_err(|error| anyhow!("{}: cannot be written: {error:?}", path.display()))?;
        }
        // Each call of the library writes a head of its own: that of the first is the file's.
        let text = std::str::from_utf8(&lines).with_context(failed)?;
        for line in text.lines().filter(|line| !self.has_begun || !line.starts_with(['#', '"'])) {
            writeln!(self.file, "{line}").with_context(failed)?;
        }
        self.has_begun = true;
        self.at += took;
        Ok(())
    }

    /// Everything is in the file.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        self.file.flush().with_context(|| format!("{}: cannot be written", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;

    #[test]
    fn what_is_written_is_read_by_others() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut log = IntervalLog::create(file.path()).unwrap();
        for second in 1..=3_u64 {
            let mut interval = Measured::new().unwrap();
            interval.latency_us.record_n(second * 1_000, second).unwrap();
            log.write(&interval, Duration::from_secs(1)).unwrap();
        }
        log.finish().unwrap();
        let text = std::fs::read(file.path()).unwrap();
        let (mut base_times, mut read) = (0, Vec::new());
        for entry in IntervalLogIterator::new(&text) {
            match entry.unwrap() {
                LogEntry::Interval(interval) if interval.tag().is_none() => {
                    let bytes =
                        base64::prelude::BASE64_STANDARD.decode(interval.encoded_histogram()).unwrap();
                    let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
                    read.push((
                        interval.start_timestamp().as_secs(),
                        histogram.len(),
                        histogram.max() / 1_000,
                    ));
                }
                LogEntry::BaseTime(_) => base_times += 1,
                LogEntry::Interval(_) | LogEntry::StartTime(_) => {}
            }
        }
        assert_eq!((base_times, read), (1, vec![(0, 1, 1), (1, 2, 2), (2, 3, 3)]));
    }
}
