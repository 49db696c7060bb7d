//! The windows of every decision counted anew from the log alone, and every feature held against what was recorded.
//!
//! One pass in the order of the log. It begins with the first record; where the oldest segments are gone, with the oldest snapshot of
//! the state that fits; and where only late records are asked for, with the newest snapshot before them. A start of the service with
//! another catalogue made its windows anew from the log, so here they are, too.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use crate::audit::bodies::{Bodies, Opened};
use crate::audit::damage::ReadError;
use crate::audit::frame::Kind;
use crate::audit::reader::{LogReader, Record};
use crate::audit::record::{self, DecisionRecord, PolicyRecord, RecordError};
use crate::audit::segment::list_segments;
use crate::engine::policy::Policy;
use crate::feature::catalogue::Catalogue;
use crate::feature::extract;
use crate::pipeline::secret::{Secret, SecretError};
use crate::redecide::decision::{Inputs, Redecider, Unread};
use crate::redecide::policies::{Found, Policies};
use crate::redecide::report::{Compared, Difference, FieldDifference, Rebuilt};
use crate::redecide::run::{Progress, Stretch, opened};
use crate::redecide::window_state::{CountedWindows, Snapshot, WindowSettings};

/// What the cause of a policy's record is when a service starts with it.
const START: &str = "start";
/// Most features of one record that are shown.
const SHOWN_FEATURES_MAX: usize = 16;
/// Counted under this reason: a vector that differs where windows lack what was erased. Which of its values may differ by that, nobody can say.
const LACKS_ERASED: &str =
    "its vector differs, and the windows lack what can be read no more of decisions before it";
/// How many records pass between two looks at whether to stop.
const RECORDS_PER_LOOK: u64 = 64;

/// Why windows cannot be counted anew.
#[derive(Debug, Error)]
pub enum RebuildError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// No policy, no catalogue.
    #[error("not one policy that the log names is to be had: {why}; give one with --policy")]
    NoPolicy {
        /// Why not the first.
        why: String,
    },
    /// The log lacks its beginning, and no snapshot fits.
    #[error(
        "the log begins with record {oldest}, and without a snapshot of the state before that nobody knows what the windows held: {why}"
    )]
    NoBeginning {
        /// The first record.
        oldest: u64,
        /// Why no snapshot does.
        why: String,
    },
}

/// Counts the windows of a stretch anew.
pub fn run(
    stretch: &Stretch,
    policies: &Policies,
    settings: &WindowSettings,
    progress: &Progress,
) -> Result<Rebuilt, RebuildError> {
    let mut notes = Vec::new();
    let secret = match Secret::load(&settings.data)? {
        Some(secret) => secret,
        None => {
            notes.push(
                "there is no secret beside the log: what keys that are busy or were evicted have come to may differ, as their hashes do"
                    .to_owned(),
            );
            Secret::public()
        }
    };
    let bodies = opened(&stretch.log)?;
    let beginning = begin(stretch, policies, &secret, &bodies, settings)?;
    let mut pass = Pass {
        stretch,
        secret: &secret,
        settings,
        progress,
        redecider: Redecider::new(policies, &bodies),
        bodies: &bodies,
        windows: beginning.windows,
        taken: beginning.snapshot.as_ref().map_or(0, |snapshot| snapshot.header.taken.sequence),
        compared: Compared::default(),
        features: 0,
        notes,
    };
    let mut reader = beginning.reader;
    if stretch.to < u64::MAX {
        reader.limit(stretch.to);
    }
    let mut numbers = Vec::new();
    let (mut segment, mut offset) = (0, 0);
    while let Some(stored) = reader.next()? {
        if stored.header.sequence.is_multiple_of(RECORDS_PER_LOOK) {
            if progress.is_stopped() {
                break;
            }
            let position = stored.position;
            let from = if position.segment == segment { offset } else { 0 };
            progress.add_bytes(position.offset.saturating_sub(from));
            (segment, offset) = (position.segment, position.offset);
        }
        pass.take(&stored, &mut numbers)?;
    }
    Ok(Rebuilt {
        from_snapshot: beginning.snapshot.map(|snapshot| snapshot.header.applied.sequence),
        features: pass.features,
        vectors: pass.compared,
        notes: pass.notes,
    })
}

/// Where a pass begins.
struct Beginning {
    windows: CountedWindows,
    reader: LogReader,
    snapshot: Option<Snapshot>,
}

fn begin(
    stretch: &Stretch,
    policies: &Policies,
    secret: &Secret,
    bodies: &Bodies,
    settings: &WindowSettings,
) -> Result<Beginning, RebuildError> {
    let log = &settings.log;
    let segments = list_segments(log).map_err(|source| ReadError::Io { path: log.clone(), source })?;
    let oldest = segments.first().copied().unwrap_or(1);
    let is_whole = oldest <= 1;
    let mut snapshots = Snapshot::all(settings);
    snapshots.retain(|snapshot| snapshot.header.applied.sequence >= oldest);
    // Of those before what is asked for the newest; where none is, the log's beginning, or the oldest that there is.
    let before = snapshots.iter().take_while(|it| it.header.taken.sequence < stretch.from).count();
    let (mut earlier, later) = (snapshots, Vec::new());
    let later = if is_whole { later } else { earlier.split_off(before) };
    earlier.truncate(before);
    let mut why = "there is none".to_owned();
    for snapshot in earlier.into_iter().rev().chain(later) {
        let applied = &snapshot.header.applied;
        let restored = LogReader::after(log, applied.position)
            .map_err(RebuildError::from)
            .and_then(|reader| first_catalogue(reader, policies, bodies))
            .map_err(|error| error.to_string())
            .and_then(|catalogue| {
                snapshot.restore(&catalogue, secret, settings).map_err(|refusal| refusal.to_string())
            });
        match restored {
            Ok((windows, reader)) => return Ok(Beginning { windows, reader, snapshot: Some(snapshot) }),
            Err(reason) => why = format!("the one of record {}: {reason}", applied.sequence),
        }
    }
    if !is_whole {
        return Err(RebuildError::NoBeginning { oldest, why });
    }
    let catalogue = first_catalogue(LogReader::from_sequence(log, 1)?, policies, bodies)?;
    let windows = CountedWindows::new(&catalogue, secret, settings);
    Ok(Beginning { windows, reader: LogReader::from_sequence(log, 1)?, snapshot: None })
}

/// The catalogue of the first policy that is named and to be had.
fn first_catalogue(
    mut reader: LogReader,
    policies: &Policies,
    bodies: &Bodies,
) -> Result<Arc<Catalogue>, RebuildError> {
    let mut first_why = None;
    let mut tried = BTreeMap::new();
    while let Some(stored) = reader.next()? {
        let (hash, versions) = match stored.header.kind {
            Kind::PolicyChange => match record::decode::<PolicyRecord>(stored.body) {
                Ok(PolicyRecord { policy, versions, .. }) => (policy, versions),
                Err(_) => continue,
            },
            // What stands in clear says so.
            Kind::Decision => match bodies.decision(&stored).map(Opened::or_left) {
                Ok((DecisionRecord { policy, answer, .. }, _)) => (policy, answer.versions),
                Err(_) => continue,
            },
            _ => continue,
        };
        if tried.insert(hash.clone(), ()).is_some() {
            continue;
        }
        match &*policies.find(&hash, || Some(versions)) {
            Found::Policy(policy, _) => return Ok(Arc::clone(&policy.catalogue)),
            Found::Nothing(why) => {
                first_why.get_or_insert_with(|| format!("the policy {hash}: {why}"));
            }
        }
    }
    Err(RebuildError::NoPolicy { why: first_why.unwrap_or_else(|| "it names none".to_owned()) })
}

struct Pass<'a> {
    stretch: &'a Stretch,
    secret: &'a Secret,
    settings: &'a WindowSettings,
    progress: &'a Progress,
    redecider: Redecider<'a>,
    bodies: &'a Bodies,
    windows: CountedWindows,
    /// Up to this record, the snapshot may have counted attempts that come later.
    taken: u64,
    compared: Compared,
    features: u64,
    notes: Vec<String>,
}

impl Pass<'_> {
    fn take(&mut self, stored: &Record<'_>, numbers: &mut Vec<f64>) -> Result<(), ReadError> {
        let sequence = stored.header.sequence;
        match stored.header.kind {
            Kind::Decision => match Inputs::read(self.bodies, stored, numbers) {
                Ok(inputs) => self.decision(stored, &inputs)?,
                Err(why) => {
                    self.compared.seen += 1;
                    self.windows.count_left(self.bodies, stored);
                    self.not_compared(sequence, &format!("{}: later windows lack it", why.reason()));
                }
            },
            Kind::Label => {
                if let Err(error) = self.windows.label(self.bodies, stored) {
                    let why = format!("a label: {}: later windows lack it", Unread::from(error).reason());
                    self.not_compared(sequence, &why);
                }
            }
            Kind::PolicyChange => {
                let changed: Result<PolicyRecord, RecordError> = record::decode(stored.body);
                if let Ok(PolicyRecord { cause, policy, versions, refused, .. }) = changed
                    && *cause == *START
                    && refused.is_empty()
                    && let Found::Policy(policy, _) = &*self.redecider.named(&policy, versions)
                    && !self.windows.are_of(&policy.catalogue)
                {
                    self.begin_anew(&policy.catalogue, sequence)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn decision(&mut self, stored: &Record<'_>, inputs: &Inputs<'_>) -> Result<(), ReadError> {
        let sequence = stored.header.sequence;
        let is_asked = self.stretch.holds(stored);
        self.compared.seen += u64::from(is_asked);
        let found = self.redecider.find(inputs);
        let why_not = match &*found {
            Found::Nothing(why) => Some(format!("the policy {}: {why}", inputs.policy)),
            Found::Policy(..) if sequence <= self.taken => {
                Some("it was on its way when the snapshot was taken".to_owned())
            }
            Found::Policy(policy, _) => inputs.check(policy).err().map(|why| why.to_string()),
        };
        if let (Found::Policy(policy, _), None) = (&*found, &why_not) {
            if !self.windows.serve(&policy.catalogue) {
                self.begin_anew(&policy.catalogue, sequence)?;
            }
            let observation = self.windows.observe(sequence, inputs, &policy.catalogue);
            if is_asked {
                self.compare(stored, inputs, policy, observation.windows, observation.is_new);
            }
            return Ok(());
        }
        self.windows.count(sequence, inputs);
        if let Some(why) = why_not.filter(|_| is_asked) {
            self.not_compared(sequence, &why);
        }
        Ok(())
    }

    fn compare(
        &mut self,
        stored: &Record<'_>,
        inputs: &Inputs<'_>,
        policy: &Policy,
        windows: crate::feature::vector::FeatureVector,
        is_new: bool,
    ) {
        let catalogue = &policy.catalogue;
        let ip = inputs.ip.as_ref();
        let now = extract::vector(catalogue, &inputs.transaction, windows, &inputs.enrichment, ip);
        self.features += catalogue.features.len() as u64;
        let is_repeat_the_same = inputs.is_repeat != is_new;
        if now == inputs.features && is_repeat_the_same {
            self.compared.same += 1;
            return;
        }
        let mut fields = Vec::new();
        let mut kinds = Vec::new();
        for (slot, feature) in catalogue.features.iter().enumerate() {
            let (then, again) =
                (inputs.features.get(slot, feature.value_type), now.get(slot, feature.value_type));
            if then != again {
                kinds.push(format!("features.{}", feature.name));
                fields.push((then.to_string(), again.to_string()));
            }
        }
        if !is_repeat_the_same {
            kinds.push("repeat".to_owned());
            fields.push((inputs.is_repeat.to_string(), (!is_new).to_string()));
        }
        if kinds.is_empty() {
            self.compared.same += 1;
            return;
        }
        let sequence = stored.header.sequence;
        if self.windows.lacks_erased() {
            return self.not_compared(sequence, LACKS_ERASED);
        }
        self.compared.differs(sequence, kinds.iter().map(String::as_str), || {
            let answer = inputs.answer(stored);
            let shown = kinds.iter().zip(fields).take(SHOWN_FEATURES_MAX);
            Difference {
                sequence,
                decision_id: answer.as_ref().map_or_else(String::new, |it| it.decision_id.to_string()),
                transaction_id: inputs.transaction.id.as_str().to_owned(),
                recorded_at: stored.header.recorded_at.to_string(),
                policy: inputs.policy.to_string(),
                fields: shown
                    .map(|(field, (recorded, decided))| FieldDifference {
                        field: field.clone(),
                        recorded,
                        decided,
                    })
                    .collect(),
            }
        });
    }

    /// Windows as a service has them that starts with another catalogue before that record.
    fn begin_anew(&mut self, catalogue: &Arc<Catalogue>, sequence: u64) -> Result<(), ReadError> {
        let progress = self.progress;
        let go_on = |at: u64| !at.is_multiple_of(RECORDS_PER_LOOK) || !progress.is_stopped();
        self.windows = CountedWindows::folded(
            catalogue,
            self.secret,
            self.bodies,
            self.settings,
            sequence.saturating_sub(1),
            go_on,
        )?;
        self.taken = 0;
        self.notes.push(format!(
            "before record {sequence}, the service started with another catalogue: its windows were counted anew, as there"
        ));
        Ok(())
    }

    fn not_compared(&mut self, sequence: u64, why: &str) {
        self.compared.not_compared.add(why, sequence);
    }
}
