//! Profiles from files of columns (CSV, Parquet) into a store.
//!
//! One column names the id; another, or the caller for the whole file, names whose profile it is. Every other column is a field of its
//! own name. An empty cell says nothing about its field: what is stored stays. (NDJSON can remove a field, with `null`.)

use std::borrow::Cow;
use std::path::Path;

use crate::enrich::import::{ImportError, ImportFault, ImportProgress, Importer};
use crate::enrich::record::ProfileRecord;
use crate::enrich::source::ProfileSource;
use crate::offline::cell::Cell;
use crate::offline::error::{InputError, ReadError, RowProblem};
use crate::offline::input::{Progress, Rows};
use crate::offline::mapping::ColumnName;

/// The column that names the entity, where the caller names none.
pub const ENTITY_COLUMN: &str = "entity";

/// A file of columns, opened.
#[derive(Debug)]
pub struct ProfileRows {
    rows: Rows,
    columns: Vec<String>,
    id: usize,
    entity: Entity,
}

#[derive(Debug)]
enum Entity {
    Column(usize),
    All(String),
}

impl ProfileRows {
    /// Opens a file. `entity` is that of every row; without it, the column `entity` names it. `id` is the column with the id.
    pub fn open(file: &Path, entity: Option<&str>, id: &str) -> Result<Self, InputError> {
        let mut rows = Rows::open(file)?;
        let columns: Vec<String> = rows.columns().unwrap_or_default().to_vec();
        let named = |name: &str| ColumnName { name: name.to_owned(), named_at: String::new() };
        let place = |name: &str| {
            let place = columns.iter().position(|column| column == name);
            place.ok_or_else(|| crate::offline::input::no_such_column(file, &named(name), &columns))
        };
        let id = place(id)?;
        let entity = match entity {
            Some(entity) => Entity::All(entity.to_owned()),
            None => Entity::Column(place(ENTITY_COLUMN)?),
        };
        let all: Vec<_> = columns.iter().map(|name| named(name)).collect();
        rows.select(&all)?;
        Ok(Self { rows, columns, id, entity })
    }

    /// Stores all rows; tells `progress` after each batch how far the file is read.
    pub async fn import<S: ProfileSource>(
        mut self,
        source: &S,
        mut progress: impl FnMut(Progress),
    ) -> Result<ImportProgress, ImportError> {
        let mut importer = Importer::new(source);
        let mut cells = Vec::new();
        loop {
            let record = match self.rows.next_cells(&mut cells) {
                Ok(false) => break,
                Ok(true) => self.record(&cells),
                Err(ReadError::Row(RowProblem { column: Some(column), reason })) => {
                    Err(ImportFault::Rows(format!("column {column:?}: {reason}")))
                }
                Err(ReadError::Row(RowProblem { column: None, reason })) => Err(ImportFault::Rows(reason)),
                Err(ReadError::File(error)) => Err(ImportFault::Rows(error.to_string())),
            };
            match record {
                Ok(record) => {
                    let bytes =
                        record.fields().map(|(name, value)| name.len() + value.map_or(0, str::len)).sum();
                    if importer.take(Some(record), bytes).await? {
                        progress(self.rows.progress());
                    }
                }
                Err(fault) => return Err(importer.stop(fault).await),
            }
        }
        importer.store().await?;
        progress(self.rows.progress());
        Ok(importer.done)
    }

    fn record(&self, cells: &[Cell]) -> Result<ProfileRecord, ImportFault> {
        let text = |place: usize| cells.get(place).and_then(Cell::word);
        let id = text(self.id).ok_or(ImportFault::Key("id"))?;
        let entity = match &self.entity {
            Entity::All(entity) => Cow::Borrowed(&**entity),
            Entity::Column(place) => text(*place).ok_or(ImportFault::Key(ENTITY_COLUMN))?,
        };
        let mut fields = Vec::with_capacity(cells.len());
        for (place, (name, cell)) in self.columns.iter().zip(cells).enumerate() {
            let is_key = place == self.id || matches!(self.entity, Entity::Column(entity) if entity == place);
            if is_key || cell.is_missing() {
                continue;
            }
            let value = match cell {
                // Beyond what is exact as an id, and still a value.
                Cell::Double(number) => Cow::Owned(number.to_string()),
                cell => cell.word().ok_or_else(|| ImportFault::NotText(name.clone()))?,
            };
            fields.push((name.as_str(), value));
        }
        let fields = fields.iter().map(|(name, value)| (*name, Some(&**value)));
        Ok(ProfileRecord::new(&entity, &id, fields)?)
    }
}
