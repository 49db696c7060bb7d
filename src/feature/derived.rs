//! The derived features of a catalogue, compiled: from the order of attempts, from windows, from other features.

use std::time::Duration;

use serde_saphyr::{Location, Spanned};

use crate::domain::value::{ValueType, parse_duration};
use crate::expr::program::Program;
use crate::feature::catalogue::{Compiler, DerivedFeature};
use crate::feature::file::DerivedEntry;
use crate::window::layout::Stream;
use crate::window::plan::{Measure, SinceMeasure, SinceRead, Threshold};

/// Adds a derived feature that has options of its own.
type AddDerived = fn(&mut Compiler, Location, &str, &str, &DerivedEntry);

impl Compiler {
    pub(super) fn add_derived(&mut self, entry: &Spanned<DerivedEntry>) {
        let written = &entry.value;
        let at = written.name.referenced;
        let name = written.name.value.as_str();
        let since = [
            (&written.impossible_travel, SinceMeasure::SpeedKmh),
            (&written.distance_km, SinceMeasure::DistanceKm),
            (&written.since_last, SinceMeasure::SecondsSinceLast),
            (&written.since_first, SinceMeasure::SecondsSinceFirst),
        ];
        let others: [(&Option<String>, AddDerived); 4] = [
            (&written.zscore, Self::add_zscore),
            (&written.session_count, Self::add_session_count),
            (&written.session_seconds, Self::add_session_seconds),
            (&written.card_testing, Self::add_card_testing),
        ];
        let ways = since.iter().filter(|(entity, _)| entity.is_some()).count()
            + others.iter().filter(|(subject, _)| subject.is_some()).count()
            + usize::from(written.expr.is_some());
        if ways != 1 {
            let message = format!(
                "`{name}` needs exactly one of zscore, impossible_travel, distance_km, since_last, since_first, \
                 session_count, session_seconds, card_testing and expr"
            );
            return self.reject(at, message);
        }
        if let Some(wrong) = written.misplaced_option() {
            return self.reject(at, wrong);
        }
        for (entity, measure) in since {
            if let Some(entity) = entity {
                self.add_since(at, name, entity, measure, ValueType::Double);
            }
        }
        for (subject, add) in others {
            if let Some(subject) = subject {
                add(self, at, name, subject, written);
            }
        }
        if let Some(expr) = &written.expr {
            self.add_expression(at, name, expr);
        }
    }

    fn add_since(
        &mut self,
        at: Location,
        name: &str,
        entity: &str,
        measure: SinceMeasure,
        value_type: ValueType,
    ) {
        let Some(entity) = self.entity(at, entity) else { return };
        let Some(position) = self.position(at, entity) else { return };
        if let Some(output) = self.add_feature(at, name, value_type) {
            self.entities[entity].streams.places |= measure.is_located();
            self.since_reads.push(SinceRead { entity: position, measure, output });
        }
    }

    /// A length of time that the entity must look back, which is not further than its windows do.
    fn span(&mut self, at: Location, entity: &str, text: Option<&String>, example: &str) -> Option<Duration> {
        let parsed = text.map(|text| parse_duration(text));
        match parsed {
            None => self.reject(at, format!("is written {example}")),
            Some(Err(error)) => self.reject(at, error.to_string()),
            Some(Ok(span)) => {
                let entity = self.entity(at, entity)?;
                let draft = &mut self.entities[entity];
                draft.longest_window = draft.longest_window.max(span);
                return Some(span);
            }
        }
        None
    }

    fn add_session_count(&mut self, at: Location, name: &str, entity: &str, written: &DerivedEntry) {
        let example = "`session_count: card, gap: 30m`";
        if let Some(gap) = self.span(at, entity, written.gap.as_ref(), example) {
            self.add_since(at, name, entity, SinceMeasure::SessionCount { gap }, ValueType::Int);
        }
    }

    fn add_session_seconds(&mut self, at: Location, name: &str, entity: &str, written: &DerivedEntry) {
        let example = "`session_seconds: card, gap: 30m`";
        if let Some(gap) = self.span(at, entity, written.gap.as_ref(), example) {
            self.add_since(at, name, entity, SinceMeasure::SessionSeconds { gap }, ValueType::Double);
        }
    }

    fn add_card_testing(&mut self, at: Location, name: &str, entity: &str, written: &DerivedEntry) {
        let example = "`card_testing: card, window: 1h, small: \"2.00\", large: \"20.00\"`, with amounts in major units";
        let threshold = |text: &Option<String>| text.as_deref().and_then(Threshold::parse);
        let (Some(small), Some(large)) = (threshold(&written.small), threshold(&written.large)) else {
            return self.reject(at, format!("is written {example}"));
        };
        if let Some(window) = self.span(at, entity, written.window.as_ref(), example) {
            let measure = SinceMeasure::SmallBeforeLarge { window, small, large };
            self.add_since(at, name, entity, measure, ValueType::Int);
        }
    }

    fn add_zscore(&mut self, at: Location, name: &str, of: &str, written: &DerivedEntry) {
        let (Some(entity), Some(window), "amount") = (&written.entity, &written.window, of) else {
            return self.reject(at, "a zscore is written `zscore: amount, entity: customer, window: 30d`");
        };
        let Some(entity) = self.entity(at, entity) else { return };
        match parse_duration(window) {
            Ok(window) => self.add_read(at, name, entity, Stream::Attempts, Measure::ZScore, window),
            Err(error) => self.reject(at, error.to_string()),
        }
    }

    fn add_expression(&mut self, at: Location, name: &str, text: &Spanned<String>) {
        match Program::compile(&text.value, &mut self.schema) {
            Ok(program) if matches!(program.value_type(), ValueType::Time | ValueType::Duration) => {
                self.reject(
                    text.referenced,
                    format!(
                        "`{name}` is a {}; a feature is a bool, int, double or string",
                        program.value_type()
                    ),
                );
            }
            Ok(program) => {
                if let Some(slot) = self.add_feature(at, name, program.value_type()) {
                    self.derived.push(DerivedFeature { slot, program });
                }
            }
            Err(error) => self.reject(text.referenced, format!("in `{name}`: {}", error.render(&text.value))),
        }
    }
}
