//! The archive as a Delta Lake table: the log of its transactions, beside the Parquet files, in `records/_delta_log`.
//!
//! The manifest is the truth; this log tells readers of Delta the same. What it will say is noted before the manifest changes (`manifest/delta.json`),
//! and said after; a run that begins between the two says what the manifest came to hold. The format is the published protocol
//! (github.com/delta-io/delta, PROTOCOL.md): reader version 1, writer version 2. Nobody else may write to the table.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::archive::archiver::{Archive, Work};
use crate::archive::delta_checkpoint;
use crate::archive::error::ArchiveError;
use crate::archive::manifest::{FileEntry, RECORDS, date};
use crate::archive::schema::{AMOUNT_PRECISION, AMOUNT_SCALE, COLUMNS, ColumnType};
use crate::audit::receipt::LogId;
use crate::domain::time::EventTime;

const STATE: &str = "manifest/delta.json";
const LOG: &str = "records/_delta_log";
/// After so many versions a checkpoint is written, and the commits before the last one are removed.
const CHECKPOINT_VERSIONS: u64 = 50;

/// What is noted of the table.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct State {
    /// The version that is written next.
    next_version: u64,
    /// When the table was made, in milliseconds.
    created_at_ms: i64,
    /// How many files the table has.
    files: u64,
    /// The last record in it.
    last_sequence: u64,
    /// What the next version says.
    #[serde(default)]
    added: Vec<FileEntry>,
    #[serde(default)]
    removed: Vec<FileEntry>,
}

impl Archive {
    fn delta_state(&self) -> Result<Option<State>, ArchiveError> {
        let bytes = self.store.read(STATE).map_err(self.store_error("read", STATE))?;
        let Some(bytes) = bytes else { return Ok(None) };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| ArchiveError::damaged(STATE, error.to_string()))
    }

    fn save_delta_state(&self, state: &State) -> Result<(), ArchiveError> {
        let bytes = serde_json::to_vec_pretty(state)
            .map_err(|error| ArchiveError::damaged(STATE, error.to_string()))?;
        self.store.put(STATE, &bytes).map_err(self.store_error("write", STATE))
    }

    /// The files of the whole archive, in order.
    fn all_files(&self) -> Result<Vec<FileEntry>, ArchiveError> {
        let manifest = self.manifest();
        let mut files = Vec::new();
        for name in manifest.chapters()? {
            files.extend(manifest.load(name)?.files);
        }
        Ok(files)
    }

    /// Says what was noted and not said; and begins the table anew where it is not what the manifest holds, as after a time without
    /// `archive.delta`.
    pub(crate) fn recover_delta(&self, work: Work<'_>) -> Result<(), ArchiveError> {
        // The table has the id of the log, which an empty archive does not know.
        let Some((_, newest)) = self.newest()?.filter(|_| self.settings.delta) else { return Ok(()) };
        let files = self.all_files()?;
        if let Some(mut state) = self.delta_state()? {
            let is_held = |file: &FileEntry| {
                let found = files.binary_search_by_key(&file.first_sequence, |it| it.first_sequence);
                found.is_ok_and(|at| files[at].path == file.path)
            };
            state.added.retain(is_held);
            state.removed.retain(|file| !is_held(file));
            self.save_delta_state(&state)?;
            self.publish_delta(work)?;
            let last = files.last().map_or(state.last_sequence, |file| file.last.sequence);
            if self
                .delta_state()?
                .is_some_and(|it| (it.files, it.last_sequence) == (files.len() as u64, last))
            {
                return Ok(());
            }
        }
        for name in self.store.list(LOG).map_err(self.store_error("list", LOG))? {
            self.remove(&format!("{LOG}/{name}"))?;
        }
        let created_at_ms = work.now.unix_millis();
        let mut lines = vec![protocol(), metadata(newest.log_id, created_at_ms)];
        lines.extend(files.iter().map(|file| add(file, true, created_at_ms)));
        lines.push(commit_info("CREATE TABLE", created_at_ms));
        self.store.put(&commit_path(0), &text(&lines)).map_err(self.store_error("write", LOG))?;
        self.save_delta_state(&State {
            next_version: 1,
            created_at_ms,
            files: files.len() as u64,
            last_sequence: files.last().map_or(0, |file| file.last.sequence),
            ..State::default()
        })
    }

    pub(crate) fn announce_delta(
        &self,
        added: &[FileEntry],
        removed: &[FileEntry],
        work: Work<'_>,
    ) -> Result<(), ArchiveError> {
        if !self.settings.delta {
            return Ok(());
        }
        let state = match self.delta_state()? {
            Some(state) => state,
            None => {
                self.recover_delta(work)?;
                self.delta_state()?.unwrap_or_default()
            }
        };
        self.save_delta_state(&State { added: added.to_vec(), removed: removed.to_vec(), ..state })
    }

    pub(crate) fn publish_delta(&self, work: Work<'_>) -> Result<(), ArchiveError> {
        if !self.settings.delta {
            return Ok(());
        }
        let Some(mut state) = self.delta_state()? else { return Ok(()) };
        if state.added.is_empty() && state.removed.is_empty() {
            return Ok(());
        }
        let now_ms = work.now.unix_millis();
        let is_merge = !state.added.is_empty() && !state.removed.is_empty();
        let mut lines: Vec<Value> =
            state.removed.iter().map(|file| remove(file, !is_merge, now_ms)).collect();
        lines.extend(state.added.iter().map(|file| add(file, !is_merge, now_ms)));
        let operation = match (is_merge, state.added.is_empty()) {
            (true, _) => "OPTIMIZE",
            (false, true) => "DELETE",
            (false, false) => "WRITE",
        };
        lines.push(commit_info(operation, now_ms));
        let path = commit_path(state.next_version);
        let bytes = text(&lines);
        if !self.store.put_new(&path, &bytes).map_err(self.store_error("write", &path))? {
            // Said, and then interrupted before that was noted.
            let there = self.store.read(&path).map_err(self.store_error("read", &path))?;
            if !there.is_some_and(|there| same_files(&there, &bytes)) {
                return Err(ArchiveError::damaged(&path, "somebody else writes to this Delta table"));
            }
        }
        state.files = (state.files + state.added.len() as u64).saturating_sub(state.removed.len() as u64);
        let last = state.added.last().map_or(0, |file| file.last.sequence);
        state.last_sequence = state.last_sequence.max(last);
        state.added.clear();
        state.removed.clear();
        let version = state.next_version;
        state.next_version += 1;
        self.save_delta_state(&state)?;
        if version.is_multiple_of(CHECKPOINT_VERSIONS) {
            self.checkpoint(version, state.created_at_ms, work)?;
        }
        Ok(())
    }

    /// Writes what the table holds at that version into one file, and removes the commits that it makes needless. Those of the last
    /// `CHECKPOINT_VERSIONS` stay, for readers that have begun.
    fn checkpoint(&self, version: u64, created_at_ms: i64, work: Work<'_>) -> Result<(), ArchiveError> {
        let files = self.all_files()?;
        let local = self.scratch.join("checkpoint.parquet");
        let adds: Vec<Value> = files.iter().map(|file| add(file, false, work.now.unix_millis())).collect();
        let Some((_, newest)) = self.newest()? else { return Ok(()) };
        let metadata = metadata(newest.log_id, created_at_ms);
        let rows = delta_checkpoint::write(&local, &metadata, &adds)?;
        let path = format!("{LOG}/{version:020}.checkpoint.parquet");
        self.store.put_file(&path, &local).map_err(self.store_error("write", &path))?;
        let last = format!("{LOG}/_last_checkpoint");
        let note = json!({"version": version, "size": rows}).to_string();
        self.store.put(&last, note.as_bytes()).map_err(self.store_error("write", &last))?;
        let needed_from = version.saturating_sub(CHECKPOINT_VERSIONS);
        for name in self.store.list(LOG).map_err(self.store_error("list", LOG))? {
            let old = name.get(..20).and_then(|digits| digits.parse::<u64>().ok());
            if old.is_some_and(|old| old < needed_from) {
                self.remove(&format!("{LOG}/{name}"))?;
            }
        }
        Ok(())
    }
}

fn metadata(log_id: LogId, created_at_ms: i64) -> Value {
    let id = log_id.to_string();
    // As a UUID is written.
    let id = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-");
    json!({"metaData": {
        "id": id, "name": "tollgate_records", "format": {"provider": "parquet", "options": {}},
        "schemaString": schema().to_string(), "partitionColumns": ["date"], "configuration": {}, "createdTime": created_at_ms,
    }})
}

fn commit_path(version: u64) -> String {
    format!("{LOG}/{version:020}.json")
}

fn text(lines: &[Value]) -> Vec<u8> {
    lines.iter().map(|line| format!("{line}\n")).collect::<String>().into_bytes()
}

/// Whether two commits name the same files, whenever each was written.
fn same_files(one: &[u8], other: &[u8]) -> bool {
    let paths = |bytes: &[u8]| -> Vec<(bool, String)> {
        let lines =
            bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
        let path = |action: &Value, name: &str| action[name]["path"].as_str().map(str::to_owned);
        lines
            .filter_map(|line| {
                path(&line, "add").map(|it| (true, it)).or(path(&line, "remove").map(|it| (false, it)))
            })
            .collect()
    };
    paths(one) == paths(other)
}

fn protocol() -> Value {
    json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}})
}

fn commit_info(operation: &str, now_ms: i64) -> Value {
    let engine = concat!("tollgate/", env!("CARGO_PKG_VERSION"));
    json!({"commitInfo": {"timestamp": now_ms, "operation": operation, "engineInfo": engine}})
}

/// Relative to the table, which is the directory of the records.
fn table_path(file: &FileEntry) -> &str {
    file.path.strip_prefix(RECORDS).map_or(file.path.as_str(), |path| path.trim_start_matches('/'))
}

fn add(file: &FileEntry, data_change: bool, now_ms: i64) -> Value {
    let moment = |ms| EventTime::from_unix_millis(ms).map(|moment| moment.to_string()).unwrap_or_default();
    let stats = json!({
        "numRecords": file.rows,
        "minValues": {"sequence": file.first_sequence, "recorded_at": moment(file.recorded_min_ms)},
        "maxValues": {"sequence": file.last.sequence, "recorded_at": moment(file.recorded_max_ms)},
        "nullCount": {"sequence": 0, "recorded_at": 0},
    });
    json!({"add": {
        "path": table_path(file), "partitionValues": {"date": date(file.day)}, "size": file.bytes, "modificationTime": now_ms,
        "dataChange": data_change, "stats": stats.to_string(),
    }})
}

fn remove(file: &FileEntry, data_change: bool, now_ms: i64) -> Value {
    json!({"remove": {
        "path": table_path(file), "deletionTimestamp": now_ms, "dataChange": data_change, "extendedFileMetadata": true,
        "partitionValues": {"date": date(file.day)}, "size": file.bytes,
    }})
}

/// The columns as Delta says them, the partition's last.
fn schema() -> Value {
    let column = |name: &str, column_type: Value, nullable: bool| json!({"name": name, "type": column_type, "nullable": nullable, "metadata": {}});
    let mut fields: Vec<Value> = COLUMNS
        .iter()
        .map(|it| {
            let column_type = match it.column_type {
                ColumnType::Long => json!("long"),
                ColumnType::Integer => json!("integer"),
                ColumnType::Timestamp => json!("timestamp"),
                ColumnType::Amount => json!(format!("decimal({AMOUNT_PRECISION},{AMOUNT_SCALE})")),
                ColumnType::Float => json!("float"),
                ColumnType::Boolean => json!("boolean"),
                ColumnType::Text => json!("string"),
                ColumnType::Texts => json!({"type": "array", "elementType": "string", "containsNull": false}),
                ColumnType::Bytes => json!("binary"),
            };
            column(it.name, column_type, !it.required)
        })
        .collect();
    fields.push(column("date", json!("date"), true));
    json!({"type": "struct", "fields": fields})
}
