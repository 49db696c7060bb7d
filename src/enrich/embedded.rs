//! The default profile store: one file in the data directory (`redb`), or memory. No server, no network.
//!
//! Each profile is one packed row under `<entity>:<id>`. Reads go to a snapshot that the last write published, so that a
//! fetch takes no lock, waits for no writer and sees all entities of a transaction at one moment. Rows that are not in
//! the page cache are read from the file: microseconds when the operating system holds them. Writes are transactions with
//! `fsync`: after a crash the store is as the last write that was acknowledged left it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use redb::backends::InMemoryBackend;
use redb::{Database, DatabaseError, ReadOnlyTable, ReadableDatabase, ReadableTable, Table, TableDefinition};
use smallvec::SmallVec;
use thiserror::Error;
use tracing::warn;

use crate::domain::enrichment::Enrichment;
use crate::enrich::counters::{ProfileCounters, count};
use crate::enrich::plan::{PlanEntity, ProfilePlan};
use crate::enrich::record::{Merged, ProfileRecord, ProfileRecordError, Unreadable, merge, unpack};
use crate::enrich::source::{ProfileError, ProfileKeys, ProfileSource};
use crate::enrich::update::{Applied, ProfileUpdate};

/// Name of the file in the data directory.
pub const FILE_NAME: &str = "profiles.redb";
/// An empty file that says that profiles were removed, so that freed pages may still hold them.
const REMOVED_MARK: &str = "profiles.redb.removed";
/// Name of the file that replaces it when it is written anew.
const NEW_FILE_NAME: &str = "profiles.redb.new";
/// Most memory that the page cache takes, in bytes.
pub const CACHE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Version of the tables below. Never reuse a number.
pub const FORMAT_VERSION: u64 = 1;

const PROFILES: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("profiles");
const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");
const META_FORMAT: &str = "format";

/// Why the store could not be opened.
#[derive(Debug, Error)]
pub enum EmbeddedError {
    /// Another process has it open.
    #[error("{}: another process has the profile store open; stop it, or choose another data directory", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// A later release wrote it.
    #[error(
        "{}: the profile store has format {found}, this release reads format {FORMAT_VERSION}; use a newer release",
        path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: u64,
    },
    /// It holds no profile store, or cannot be read.
    #[error("{}: the profile store cannot be opened: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the storage layer said.
        source: Box<redb::Error>,
    },
}

/// A profile store in one file, or in memory. Clones share it.
#[derive(Clone)]
pub struct EmbeddedProfiles(Arc<Inner>);

struct Inner {
    /// Before `database`, so that no reader is left when that closes the file in order.
    snapshot: ArcSwap<ReadOnlyTable<&'static str, &'static [u8]>>,
    database: Database,
    /// Held from the begin of a write until its snapshot is published: snapshots never go back in time.
    writer: Mutex<()>,
    counters: ProfileCounters,
    /// The data directory; none in memory.
    directory: Option<PathBuf>,
}

impl std::fmt::Debug for EmbeddedProfiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedProfiles").finish_non_exhaustive()
    }
}

impl EmbeddedProfiles {
    /// Opens the store in `data_dir`, which must exist, or makes a new one there. After profiles were removed, writes the file anew.
    pub fn open(data_dir: &Path) -> Result<Self, EmbeddedError> {
        if data_dir.join(REMOVED_MARK).exists() {
            Self::rewrite(data_dir)?;
        }
        Self::open_as_it_is(data_dir)
    }

    fn open_as_it_is(data_dir: &Path) -> Result<Self, EmbeddedError> {
        let path = data_dir.join(FILE_NAME);
        let database = Database::builder().set_cache_size(CACHE_BYTES_MAX).create(&path);
        Self::with_database(database, path)
    }

    /// Writes the file anew, so that no page of it holds what was removed or replaced. Nobody may have it open.
    fn rewrite(data_dir: &Path) -> Result<(), EmbeddedError> {
        let (path, new) = (data_dir.join(FILE_NAME), data_dir.join(NEW_FILE_NAME));
        let unreadable = |source| EmbeddedError::Unreadable { path: path.clone(), source };
        let failed = |error: io::Error| unreadable(boxed(redb::Error::Io(error)));
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let old = Self::open_as_it_is(data_dir)?;
        copy(&old.0.database, &new).map_err(unreadable)?;
        drop(old);
        std::fs::rename(&new, &path).map_err(failed)?;
        std::fs::remove_file(data_dir.join(REMOVED_MARK)).map_err(failed)?;
        std::fs::File::open(data_dir).and_then(|directory| directory.sync_all()).map_err(failed)
    }

    /// An empty store in memory, gone when the last clone is: for tests and offline work.
    pub fn in_memory() -> Result<Self, EmbeddedError> {
        let database = Database::builder().create_with_backend(InMemoryBackend::new());
        Self::with_database(database, PathBuf::from("(memory)"))
    }

    fn with_database(
        database: Result<Database, DatabaseError>,
        path: PathBuf,
    ) -> Result<Self, EmbeddedError> {
        let database = match database {
            Ok(database) => database,
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(EmbeddedError::Locked { path }),
            Err(error) => return Err(EmbeddedError::Unreadable { path, source: Box::new(error.into()) }),
        };
        match prepare(&database) {
            Ok(FORMAT_VERSION) => {}
            Ok(found) => return Err(EmbeddedError::NewerFormat { path, found }),
            Err(source) => return Err(EmbeddedError::Unreadable { path, source }),
        }
        let directory = path.parent().filter(|_| path.ends_with(FILE_NAME)).map(Path::to_owned);
        let snapshot = snapshot(&database).map_err(|source| EmbeddedError::Unreadable { path, source })?;
        Ok(Self(Arc::new(Inner {
            database,
            snapshot: ArcSwap::from_pointee(snapshot),
            writer: Mutex::new(()),
            counters: ProfileCounters::default(),
            directory,
        })))
    }

    /// The counters.
    pub fn counters(&self) -> &ProfileCounters {
        &self.0.counters
    }
}

impl ProfileSource for EmbeddedProfiles {
    async fn fetch(&self, plan: &ProfilePlan, keys: &ProfileKeys<'_>, timeout: Duration) -> Enrichment {
        let counters = &self.0.counters;
        if plan.asked(keys).next().is_none() {
            return Enrichment::absent(plan.len());
        }
        count(&counters.fetches);
        if timeout.is_zero() {
            count(&counters.timeouts);
            return plan.unanswered(keys);
        }
        let mut enrichment = Enrichment::absent(plan.len());
        let snapshot = self.0.snapshot.load();
        let mut key = String::with_capacity(128);
        for (entity, id) in plan.asked(keys) {
            write_key(&mut key, entity.name(), id);
            let answered = match snapshot.get(&*key) {
                Ok(None) => true,
                Ok(Some(row)) => answer(entity, row.value(), counters, &mut enrichment).is_ok(),
                Err(_) => false,
            };
            if !answered {
                count(&counters.errors);
                let errors = counters.read().errors;
                if errors.is_power_of_two() {
                    warn!(
                        entity = entity.name(),
                        errors, "a profile could not be read from the embedded store"
                    );
                }
                entity.answer_timed_out(&mut enrichment);
            }
        }
        enrichment
    }

    async fn put_many(&self, records: Vec<ProfileRecord>) -> Result<(), ProfileError> {
        let inner = Arc::clone(&self.0);
        // A write ends with `fsync`, which would hold up everything else on this thread.
        match tokio::task::spawn_blocking(move || write(&inner, &records)).await {
            Ok(written) => written,
            Err(error) => Err(ProfileError::Interrupted(io::Error::other(error))),
        }
    }

    async fn remove(&self, profiles: Vec<(Box<str>, Box<str>)>) -> Result<u64, ProfileError> {
        let inner = Arc::clone(&self.0);
        match tokio::task::spawn_blocking(move || remove(&inner, &profiles)).await {
            Ok(removed) => removed,
            Err(error) => Err(ProfileError::Interrupted(io::Error::other(error))),
        }
    }

    async fn apply(&self, updates: Vec<ProfileUpdate>) -> Result<Applied, ProfileError> {
        let inner = Arc::clone(&self.0);
        match tokio::task::spawn_blocking(move || update(&inner, &updates)).await {
            Ok(applied) => applied,
            Err(error) => Err(ProfileError::Interrupted(io::Error::other(error))),
        }
    }
}

/// Creates the tables in a new file. Answers the format version of the file.
fn prepare(database: &Database) -> Result<u64, Box<redb::Error>> {
    let transaction = database.begin_write().map_err(boxed)?;
    let found = {
        let mut meta = transaction.open_table(META).map_err(boxed)?;
        let found = meta.get(META_FORMAT).map_err(boxed)?.map(|version| version.value());
        if let Some(found) = found {
            found
        } else {
            meta.insert(META_FORMAT, FORMAT_VERSION).map_err(boxed)?;
            FORMAT_VERSION
        }
    };
    if found != FORMAT_VERSION {
        return Ok(found);
    }
    transaction.open_table(PROFILES).map_err(boxed)?;
    transaction.commit().map_err(boxed)?;
    Ok(found)
}

/// Copies all rows into a new file.
fn copy(database: &Database, new: &Path) -> Result<(), Box<redb::Error>> {
    let from = snapshot(database)?;
    let database = Database::builder().set_cache_size(CACHE_BYTES_MAX).create(new).map_err(boxed)?;
    prepare(&database)?;
    let transaction = database.begin_write().map_err(boxed)?;
    {
        let mut table = transaction.open_table(PROFILES).map_err(boxed)?;
        for row in from.iter().map_err(boxed)? {
            let (key, row) = row.map_err(boxed)?;
            table.insert(key.value(), row.value()).map_err(boxed)?;
        }
    }
    transaction.commit().map_err(boxed)
}

fn snapshot(database: &Database) -> Result<ReadOnlyTable<&'static str, &'static [u8]>, Box<redb::Error>> {
    database.begin_read().map_err(boxed)?.open_table(PROFILES).map_err(boxed)
}

/// One transaction for all records; nothing of it is stored when any of them fails.
fn write(inner: &Inner, records: &[ProfileRecord]) -> Result<(), ProfileError> {
    transact(inner, |table| {
        let mut key = String::new();
        for record in records {
            write_key(&mut key, record.entity(), record.id());
            let row = table.get(&*key).map_err(stored)?.map(|row| row.value().to_vec());
            match merge(row.as_deref(), record) {
                Ok(Merged::Row(row)) => {
                    table.insert(&*key, &*row).map_err(stored)?;
                }
                Ok(Merged::Nothing) => {
                    table.remove(&*key).map_err(stored)?;
                }
                Ok(Merged::TooManyFields) => return Err(ProfileRecordError::TooManyFields.into()),
                Err(Unreadable) => return Err(ProfileError::Corrupt { entity: record.entity().to_owned() }),
            }
        }
        Ok(())
    })
}

/// One transaction for all that are removed. Pages of the file that held them are free and overwritten some day; the mark has the file
/// written anew when it is opened next.
fn remove(inner: &Inner, profiles: &[(Box<str>, Box<str>)]) -> Result<u64, ProfileError> {
    if let Some(directory) = &inner.directory {
        std::fs::write(directory.join(REMOVED_MARK), b"").map_err(ProfileError::Interrupted)?;
    }
    transact(inner, |table| {
        let (mut key, mut removed) = (String::new(), 0);
        for (entity, id) in profiles {
            write_key(&mut key, entity, id);
            removed += u64::from(table.remove(&*key).map_err(stored)?.is_some());
        }
        Ok(removed)
    })
}

/// One transaction for all updates.
fn update(inner: &Inner, updates: &[ProfileUpdate]) -> Result<Applied, ProfileError> {
    transact(inner, |table| {
        let (mut key, mut applied) = (String::new(), Applied::default());
        for update in updates {
            write_key(&mut key, &update.entity, update.id.as_str());
            let row = table.get(&*key).map_err(stored)?.map(|row| row.value().to_vec());
            let Ok((record, new_steps)) = update.resolve(row.as_deref()) else {
                applied.refused += 1;
                continue;
            };
            if let Some(record) = record {
                let Ok(Merged::Row(row)) = merge(row.as_deref(), &record) else {
                    applied.refused += 1;
                    continue;
                };
                table.insert(&*key, &*row).map_err(stored)?;
            }
            applied.steps += new_steps;
            applied.repeated += update.steps.len() as u64 - new_steps;
        }
        Ok(applied)
    })
}

/// Changes the table in one transaction, and publishes what it holds then.
fn transact<T>(
    inner: &Inner,
    change: impl FnOnce(&mut Table<'_, &'static str, &'static [u8]>) -> Result<T, ProfileError>,
) -> Result<T, ProfileError> {
    let _writer = inner.writer.lock();
    let mut transaction = inner.database.begin_write().map_err(stored)?;
    // A little more to write each time, and after a crash the file need not be walked from end to end.
    transaction.set_quick_repair(true);
    let changed = change(&mut transaction.open_table(PROFILES).map_err(stored)?)?;
    transaction.commit().map_err(stored)?;
    inner.snapshot.store(Arc::new(snapshot(&inner.database).map_err(ProfileError::Storage)?));
    Ok(changed)
}

fn stored(error: impl Into<redb::Error>) -> ProfileError {
    ProfileError::Storage(boxed(error))
}

/// Reads one row once, and puts what the plan asks for where it belongs.
fn answer(
    entity: &PlanEntity,
    row: &[u8],
    counters: &ProfileCounters,
    enrichment: &mut Enrichment,
) -> Result<(), Unreadable> {
    let stored: SmallVec<[(&[u8], &[u8]); 16]> = unpack(row).collect::<Result<_, _>>()?;
    for field in entity.fields() {
        let found = stored.binary_search_by(|(name, _)| (*name).cmp(field.name().as_bytes())).ok();
        let value = found.and_then(|index| stored.get(index)).map(|(_, value)| *value);
        entity.answer(field, value, counters, enrichment);
    }
    Ok(())
}

fn write_key(key: &mut String, entity: &str, id: &str) {
    key.clear();
    key.push_str(entity);
    key.push(':');
    key.push_str(id);
}

fn boxed(error: impl Into<redb::Error>) -> Box<redb::Error> {
    Box::new(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::plan::ProfileType;

    #[test]
    fn a_store_that_is_open_elsewhere_or_newer_or_foreign_is_refused_with_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        let first = EmbeddedProfiles::open(dir.path()).unwrap();
        let error = EmbeddedProfiles::open(dir.path()).unwrap_err();
        assert!(matches!(error, EmbeddedError::Locked { .. }), "{error}");
        assert!(error.to_string().contains("profiles.redb: another process has"), "{error}");
        drop(first);

        let path = dir.path().join(FILE_NAME);
        let database = Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert(META_FORMAT, FORMAT_VERSION + 1).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let error = EmbeddedProfiles::open(dir.path()).unwrap_err();
        assert!(matches!(error, EmbeddedError::NewerFormat { found: 2, .. }), "{error}");

        std::fs::write(&path, "this is no database, and it is long enough to look like one".repeat(200))
            .unwrap();
        let error = EmbeddedProfiles::open(dir.path()).unwrap_err();
        assert!(matches!(error, EmbeddedError::Unreadable { .. }), "{error}");
        assert!(EmbeddedProfiles::open(&dir.path().join("missing")).is_err());
    }

    #[tokio::test]
    async fn an_unreadable_row_affects_its_own_entity_only() {
        let store = EmbeddedProfiles::in_memory().unwrap();
        store.put("ip", "192.0.2.1", &[("score", "0.5")]).await.unwrap();
        let transaction = store.0.database.begin_write().unwrap();
        transaction.open_table(PROFILES).unwrap().insert("customer:c_1", &[1_u8, 200, 3][..]).unwrap();
        transaction.commit().unwrap();
        store.0.snapshot.store(Arc::new(snapshot(&store.0.database).unwrap()));

        let mut builder = ProfilePlan::builder();
        builder.field("customer", "orders", ProfileType::Int).unwrap();
        builder.field("ip", "score", ProfileType::Number).unwrap();
        let plan = builder.build();
        let keys = ProfileKeys::from_iter([Some("c_1"), Some("192.0.2.1")]);
        let enrichment = store.fetch(&plan, &keys, Duration::from_secs(1)).await;
        assert_eq!(serde_json::to_string(&enrichment).unwrap(), r#"["timed_out",{"known":0.5}]"#);
        assert_eq!(store.counters().read().errors, 1);
        let refused = store.put("customer", "c_1", &[("orders", "1")]).await;
        assert!(matches!(refused, Err(ProfileError::Corrupt { .. })), "{refused:?}");
    }
}
