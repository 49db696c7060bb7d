//! A file at N times real time: a thread reads ahead, so that reading is not in the way of sending.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context, anyhow};

use tollgate::domain::time::EventTime;
use tollgate::offline::error::InputError;
use tollgate::offline::mapping::Mapping;
use tollgate::offline::transactions::{ReadOptions, TransactionReader};
use tollgate::wire::transaction::TransactionJson;

/// Transactions that are read ahead.
const AHEAD_MAX: usize = 65_536;

type Read = anyhow::Result<(EventTime, Box<[u8]>)>;

/// A file, being read.
#[derive(Debug)]
pub(crate) struct Replay {
    rows: Receiver<Read>,
    speed: f64,
    first: Option<EventTime>,
}

impl Replay {
    /// Begins to read. Row by row, in the order of the file; a row whose time lies before that of the row before is due at once.
    pub(crate) fn start(
        path: &Path,
        mapping: Option<&Mapping>,
        skip_bad_rows: bool,
        speed: f64,
    ) -> anyhow::Result<Self> {
        // What is wrong with the file as a whole is known before anything is sent.
        let reader = open(path, mapping, skip_bad_rows)?;
        let (sender, rows) = sync_channel(AHEAD_MAX);
        std::thread::Builder::new()
            .name("load-read".to_owned())
            .spawn(move || read(reader, &sender))
            .context("no thread to read the file")?;
        Ok(Self { rows, speed, first: None })
    }

    /// The next transaction, and when it is due after the first; `None` at the end.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<(Duration, Box<[u8]>)>> {
        let Ok(row) = self.rows.recv() else { return Ok(None) };
        let (occurred_at, body) = row?;
        let first = *self.first.get_or_insert(occurred_at);
        let after_ms = occurred_at.unix_millis().saturating_sub(first.unix_millis()).max(0);
        #[expect(clippy::cast_precision_loss, reason = "2^53 ms are 285,000 years")]
        let after = Duration::try_from_secs_f64(after_ms as f64 / 1000.0 / self.speed)
            .map_err(|_| anyhow!("a transaction of {occurred_at} is too long after the first"))?;
        Ok(Some((after, body)))
    }
}

/// Reads transactions from any file that `tollgate backtest` reads.
pub(crate) fn open(
    path: &Path,
    mapping: Option<&Mapping>,
    skip_bad_rows: bool,
) -> Result<TransactionReader, InputError> {
    TransactionReader::open(path, ReadOptions { mapping, skip_bad_rows })
}

fn read(mut reader: TransactionReader, rows: &SyncSender<Read>) {
    while let Some(row) = read_one(&mut reader).transpose() {
        let is_last = row.is_err();
        if rows.send(row).is_err() || is_last {
            return;
        }
    }
}

fn read_one(reader: &mut TransactionReader) -> anyhow::Result<Option<(EventTime, Box<[u8]>)>> {
    let Some(row) = reader.next_row()? else { return Ok(None) };
    let transaction = &row.request.transaction;
    let body = serde_json::to_vec(&TransactionJson(transaction))?;
    Ok(Some((transaction.occurred_at, body.into())))
}
