//! Lists at run time: what stands on them, and changes, each recorded first and answered when its record is in the log.
//!
//! A list exists while the live policy knows it by a file, which may be empty. What stands on it is what its file says and what was
//! put there since; a value that stands in the file is taken off by changing the file.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::audit::bodies::list_change_body;
use crate::audit::frame::Kind;
use crate::audit::receipt::Receipt;
use crate::audit::record::ListChangeRecord;
use crate::domain::limits::ID_BYTES_MAX;
use crate::domain::time::EventTime;
use crate::expr::suggest::nearest;
use crate::pipeline::fold::{Consequence, ListConsequence};
use crate::pipeline::list_status::{
    ChangeAudit, EntryStatus, FileEntryStatus, ListChanged, ListPage, ListStatus, ListedStatus, ListsStatus,
};
use crate::pipeline::service::{DecideError, Service};
use crate::privacy::subject::Subject;
use crate::rules::file::end_of_day;
use crate::rules::list::List;
use crate::rules::run_time::{Action, Entry, ListChange, NOTE_BYTES_MAX, RUN_TIME_ENTRIES_MAX};
use crate::wire::pan::contains_pan;
use crate::wire::rejection::{FieldErrors, Rejection};

/// Most changes of lists on their way into the log.
pub const LIST_CHANGES_IN_FLIGHT_MAX: usize = 64;
/// Most entries in one page.
pub const PAGE_ENTRIES_MAX: usize = 1_000;
/// How long a change may take to be in the log.
const RECORD_WAIT_MAX: Duration = Duration::from_secs(5);

/// Why there is no answer about a list.
#[derive(Debug, Error)]
pub enum ListError {
    /// The live policy has no such list.
    #[error("the live policy has no such list{}", did_you_mean(.suggestion.as_deref()))]
    UnknownList {
        /// A name that was perhaps meant.
        suggestion: Option<String>,
    },
    /// The value does not stand on it.
    #[error("the value does not stand on this list")]
    NotListed,
    /// It stands in the list's file.
    #[error("the value stands in the file {file}: take it out there")]
    InFile {
        /// Which.
        file: String,
    },
    /// There is no room for one more.
    #[error(
        "{RUN_TIME_ENTRIES_MAX} values stand on lists at run time, and more are not held: put long lists into files"
    )]
    Full,
    /// The value or the body is wrong.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The change cannot be taken, or not recorded.
    #[error(transparent)]
    Service(#[from] DecideError),
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |it| format!("; did you mean `{it}`?"))
}

impl Service {
    /// All lists that the policy knows, and those that it does not know and that have entries.
    pub fn lists_status(&self) -> ListsStatus {
        let (live, run_time) = (self.policies.live(), self.state.lists.load_full());
        let known = live.policy.rules.lists();
        let mut lists: Vec<ListStatus> = known
            .iter()
            .map(|list| ListStatus {
                list: list.name().into(),
                file_entries: list.len(),
                run_time_entries: run_time.len_of(list.name()),
                in_policy: true,
            })
            .collect();
        lists.extend(run_time.names().filter(|name| known.named(name).is_none()).map(|name| ListStatus {
            list: name.into(),
            file_entries: 0,
            run_time_entries: run_time.len_of(name),
            in_policy: false,
        }));
        lists.sort_unstable_by(|a, b| a.list.cmp(&b.list));
        ListsStatus { lists, run_time_entries: run_time.len(), run_time_entries_max: RUN_TIME_ENTRIES_MAX }
    }

    /// Up to `count` entries of a list after that value. Looks at all of its entries, which may take a while.
    pub fn list_page(&self, list: &str, after: Option<&str>, count: usize) -> Result<ListPage, ListError> {
        self.with_list(list, |_| ())?;
        let (lists, count) = (self.state.lists.load_full(), count.clamp(1, PAGE_ENTRIES_MAX));
        let mut found = lists.page(list, after, count + 1);
        let has_more = found.len() > count;
        found.truncate(count);
        let next = found.last().filter(|_| has_more).map(|(value, _)| (*value).into());
        let entries = found.into_iter().map(|(value, entry)| EntryStatus::new(value, entry)).collect();
        Ok(ListPage { list: list.into(), entries, total: lists.len_of(list), next })
    }

    /// Where a value stands on a list.
    pub fn listed(&self, list: &str, value: &str) -> Result<ListedStatus, ListError> {
        check_value(value)?;
        let in_file = self.with_list(list, |it| it.entry(value))?;
        let file = in_file.map(|until| FileEntryStatus {
            file: self.policies.list_file(list),
            expires: until.map(|until| until.to_string()),
        });
        let lists = self.state.lists.load();
        let run_time = lists.entry(list, value).map(|entry| EntryStatus::new(value, entry));
        if file.is_none() && run_time.is_none() {
            return Err(ListError::NotListed);
        }
        Ok(ListedStatus { list: list.into(), value: value.into(), run_time, file })
    }

    /// Puts a value on a list, or in place of what stood there. `body` is the JSON of the request, `by` whose API key it came with.
    pub async fn put_on_list(
        &self,
        list: &str,
        value: &str,
        body: &[u8],
        by: &str,
    ) -> Result<ListChanged, ListError> {
        self.with_list(list, |_| ())?;
        check_value(value)?;
        let (note, until) = self.read_entry(body)?;
        self.change_list(list, value, Action::Add { until }, note, by).await
    }

    /// Takes a value off a list. `body` is the JSON of the request, `by` whose API key it came with.
    pub async fn take_off_list(
        &self,
        list: &str,
        value: &str,
        body: &[u8],
        by: &str,
    ) -> Result<ListChanged, ListError> {
        let in_file = self.with_list(list, |it| it.entry(value))?;
        check_value(value)?;
        let now = self.clock.now();
        if in_file.is_some_and(|until| until.is_none_or(|until| now < until)) {
            return Err(ListError::InFile { file: self.policies.list_file(list) });
        }
        if self.state.lists.load().entry(list, value).is_none() {
            return Err(ListError::NotListed);
        }
        let note = self.read_note(body)?;
        self.change_list(list, value, Action::Remove, note, by).await
    }

    async fn change_list(
        &self,
        list: &str,
        value: &str,
        action: Action,
        note: Box<str>,
        by: &str,
    ) -> Result<ListChanged, ListError> {
        let Ok(place) = Arc::clone(&self.list_changes).try_acquire_owned() else {
            return Err(DecideError::Overloaded { retry_after_s: 1 }.into());
        };
        // Those on their way are counted first: each is counted as on its way, or in what is there, or in both.
        let on_their_way = LIST_CHANGES_IN_FLIGHT_MAX - self.list_changes.available_permits();
        let lists = self.state.lists.load();
        let is_more = matches!(action, Action::Add { .. }) && lists.entry(list, value).is_none();
        if is_more && lists.len() + on_their_way > RUN_TIME_ENTRIES_MAX {
            return Err(ListError::Full);
        }
        drop(lists);
        let made = ListChange { list: list.into(), value: value.into(), action, note, by: by.into() };
        let unavailable = |error: String| DecideError::AuditUnavailable(error);
        let sealing = self.privacy.of(Subject::Listed(value)).await;
        let sealing = sealing.map_err(|error| unavailable(error.to_string()))?;
        let body = list_change_body(ListChangeRecord::from(&made), sealing.as_ref())
            .map_err(|error| DecideError::Internal(error.to_string()))?;
        let (told, mut before) = oneshot::channel();
        let consequence = ListConsequence { change: made.clone(), before: told, place };
        let consequence = Consequence::ListChange(Box::new(consequence));
        let pending = self.log.reserve().map_err(|error| unavailable(error.to_string()))?.commit_body(
            Kind::ListChange,
            self.clock.now(),
            body,
            consequence,
        );
        let receipt = tokio::time::timeout(RECORD_WAIT_MAX, pending)
            .await
            .map_err(|_| unavailable("the change was not written in time".to_owned()))?
            .map_err(|error| unavailable(error.to_string()))?;
        self.metrics.count_list_change(matches!(action, Action::Add { .. }));
        // The log's writer has told before it woke us.
        let before = before.try_recv().ok().flatten();
        Ok(self.list_changed(&made, before.as_ref(), &receipt))
    }

    fn list_changed(&self, made: &ListChange, before: Option<&Entry>, receipt: &Receipt) -> ListChanged {
        let ListChange { list, value, action, note, by } = made;
        let entry = match action {
            Action::Remove => None,
            Action::Add { until } => Some(EntryStatus {
                value: value.clone(),
                expires: until.map(|until| until.to_string()),
                note: note.clone(),
                by: by.clone(),
                added_at: receipt.recorded_at.to_string(),
                sequence: receipt.sequence,
            }),
        };
        ListChanged {
            list: list.clone(),
            value: value.clone(),
            entry,
            before: before.map(|entry| EntryStatus::new(value, entry)),
            audit: ChangeAudit {
                log: self.log_id,
                sequence: receipt.sequence,
                hash: format!("blake3:{}", receipt.hash),
            },
        }
    }

    fn with_list<T>(&self, list: &str, ask: impl FnOnce(&List) -> T) -> Result<T, ListError> {
        let live = self.policies.live();
        let lists = live.policy.rules.lists();
        lists
            .named(list)
            .map(ask)
            .ok_or_else(|| ListError::UnknownList { suggestion: nearest(list, lists.iter().map(List::name)) })
    }

    /// The note and the expiry of a body.
    fn read_entry(&self, body: &[u8]) -> Result<(Box<str>, Option<EventTime>), Rejection> {
        let body = parse_object(body)?;
        let mut errors = FieldErrors::default();
        let note = note_of(&body, &mut errors);
        let until = match body.get("expires") {
            None | Some(Value::Null) => None,
            Some(text) => {
                let text = text.as_str().unwrap_or_default();
                let until = end_of_day(text).or_else(|| EventTime::parse_rfc3339(text).ok());
                match until {
                    None => errors.push(
                        "/expires",
                        "must be a date such as 2027-01-31 (until its end in UTC) or an RFC 3339 timestamp with an offset",
                    ),
                    Some(until) if until <= self.clock.now() => errors.push("/expires", "lies in the past"),
                    Some(_) => {}
                }
                until
            }
        };
        self.metrics.count_unknown_fields(unknown(&body, &["note", "expires"]));
        if errors.is_empty() { Ok((note, until)) } else { Err(errors.into_rejection()) }
    }

    /// The note of a body.
    fn read_note(&self, body: &[u8]) -> Result<Box<str>, Rejection> {
        let body = parse_object(body)?;
        let mut errors = FieldErrors::default();
        let note = note_of(&body, &mut errors);
        self.metrics.count_unknown_fields(unknown(&body, &["note"]));
        if errors.is_empty() { Ok(note) } else { Err(errors.into_rejection()) }
    }
}

/// Nothing at all reads as an object without fields, so that what is required is named.
pub(super) fn parse_object(body: &[u8]) -> Result<serde_json::Map<String, Value>, Rejection> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(serde_json::Map::new());
    }
    let body = serde_json::from_slice(body).map_err(|error| Rejection::NotJson(error.to_string()))?;
    if let Value::Object(fields) = body { Ok(fields) } else { Err(Rejection::field("", "must be an object")) }
}

pub(super) fn unknown(fields: &serde_json::Map<String, Value>, known: &[&str]) -> usize {
    fields.keys().filter(|name| !known.contains(&name.as_str())).count()
}

pub(super) fn note_of(fields: &serde_json::Map<String, Value>, errors: &mut FieldErrors) -> Box<str> {
    match fields.get("note") {
        None | Some(Value::Null) => errors.push("/note", "is required: say why, for whoever reads it later"),
        Some(Value::String(note)) if note.trim().is_empty() || note.len() > NOTE_BYTES_MAX => {
            errors.push("/note", format!("must have 1 to {NOTE_BYTES_MAX} bytes"));
        }
        Some(Value::String(note)) if note.chars().any(char::is_control) => {
            errors.push("/note", "must not hold control characters");
        }
        Some(Value::String(note)) if contains_pan(note) => {
            errors.push("/note", "holds a card number; leave it out");
        }
        Some(Value::String(note)) => return note.trim().into(),
        Some(_) => errors.push("/note", "must be a text"),
    }
    Box::default()
}

/// A wrong value is not repeated: it may be a card number.
fn check_value(value: &str) -> Result<(), Rejection> {
    if !(1..=ID_BYTES_MAX).contains(&value.len()) {
        return Err(Rejection::field(
            "",
            format!("the value in the path must have 1 to {ID_BYTES_MAX} bytes"),
        ));
    }
    if value.chars().any(char::is_control) || value.trim() != value {
        let detail = "the value in the path must not hold control characters, nor begin or end with a space";
        return Err(Rejection::field("", detail));
    }
    if contains_pan(value) {
        let detail = "the value in the path holds a card number; list the token that stands for it";
        return Err(Rejection::field("", detail));
    }
    Ok(())
}
