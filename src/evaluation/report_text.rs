//! A backtest report for people: aligned, with thousands separated, most important first.

use std::fmt;

use crate::evaluation::report::{
    BacktestReport, InputSummary, MoneyRow, Origin, OutcomesFollow, Quality, Stopped, Windows,
};
use crate::evaluation::rules_text::truth_cells;
use crate::evaluation::text_table::{NO_VALUE, Table, entry, major, percent, thousands};
use crate::evaluation::truth::Unlabelled;
use crate::evaluation::{comparison_text, rules_text};

/// Most reasons that are shown; the data has all of them.
const REASONS_SHOWN_MAX: usize = 20;

impl fmt::Display for BacktestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_head(f)?;
        self.write_decisions(f)?;
        if let Some(comparison) = &self.comparison {
            comparison_text::write(f, comparison, &self.operation)?;
        }
        rules_text::write(f, &self.rules)?;
        self.write_money(f)?;
        if let Some(quality) = &self.quality {
            write_quality(f, quality)?;
        }
        self.write_reasons(f)?;
        self.write_missing(f)?;
        self.write_skipped(f)
    }
}

impl BacktestReport {
    fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (input, replay) = (&self.input, &self.input.replay);
        match input.origin {
            Origin::File => writeln!(f, "Backtest of {}", input.file)?,
            Origin::Log => writeln!(f, "Backtest of the audit log in {}", input.file)?,
            Origin::Traffic => writeln!(f, "Candidate on live traffic: {}", input.file)?,
        }
        let what = if input.origin == Origin::File { "read" } else { "recorded" };
        let mut rows = format!("{} {what}, {} decided", thousands(input.rows), thousands(self.truth.total()));
        for (count, what) in [(input.rows_skipped, "skipped"), (replay.dry_runs, "dry runs left out")] {
            if count > 0 {
                rows = format!("{rows}, {} {what}", thousands(count));
            }
        }
        entry(f, "rows", &rows)?;
        if let (Some(first), Some(last)) = (&input.first_event, &input.last_event) {
            entry(f, "events", &format!("{first} to {last}"))?;
        }
        let mut truth = format!(
            "{} fraud ({}), {} legitimate, {} unlabelled",
            thousands(self.truth.fraud),
            percent(self.truth.precision(), 3),
            thousands(self.truth.legitimate),
            thousands(self.truth.unlabelled)
        );
        if let Some(file) = &input.labels_file {
            truth = format!("{truth}, from {file}");
        }
        if input.unlabelled == Unlabelled::Legitimate {
            truth.push_str("; no label counts as legitimate");
        }
        entry(f, "labels", &truth)?;
        let known = [
            (replay.labels_delivered, "in time to be counted"),
            (replay.labels_pending, "not before the end"),
            (replay.labels_unmatched, "without their transaction"),
        ];
        let known: Vec<String> = known
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{} {what}", thousands(*count)))
            .collect();
        if !known.is_empty() {
            entry(f, "  known", &known.join(", "))?;
        }
        write_windows(f, input)?;
        if let Some(stopped) = input.stopped {
            let why = match stopped {
                Stopped::Interrupted => "interrupted: this covers the transactions up to then",
                Stopped::Time => "its time was over: this covers the transactions up to then",
            };
            entry(f, "ended early", why)?;
        }
        entry(f, "rules", &self.versions.rules)?;
        entry(f, "model", self.versions.model.as_deref().unwrap_or("none"))?;
        entry(f, "features", &self.versions.features)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate, never negative")]
        let rate = self.speed.transactions_per_s.round() as u64;
        let seconds = self.speed.elapsed_ms as f64 / 1_000.0;
        entry(f, "speed", &format!("{} transactions/s ({seconds:.1} s)", thousands(rate)))
    }

    fn write_decisions(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(
            "Decisions",
            &[
                "",
                "count",
                "share",
                "fraud",
                "legitimate",
                "unlabelled",
                "precision",
                "recall",
                "precision+",
                "recall+",
            ],
        );
        for row in &self.decisions {
            let mut cells = vec![row.outcome.name().to_owned(), thousands(row.count), percent(row.share, 3)];
            cells.extend(truth_cells(&row.truth));
            cells.extend(
                [row.precision, row.recall, row.precision_from_here, row.recall_from_here]
                    .map(|it| percent(it, 1)),
            );
            table.row(cells);
        }
        table.write(f)?;
        writeln!(f, "  precision+ and recall+ are of this outcome and every more severe one together")
    }

    fn write_money(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            "",
            "total",
            "fraud",
            "blocked",
            "fraud blocked",
            "fraud stopped",
            "legit. blocked",
            "legit. stopped",
        ];
        let mut table = Table::new("Money", &columns);
        for row in &self.money {
            let MoneyRow { total_minor, fraud_minor, blocked_minor, .. } = *row;
            let amounts = [
                total_minor,
                fraud_minor,
                blocked_minor,
                row.fraud_blocked_minor,
                row.fraud_stopped_minor,
                row.legitimate_blocked_minor,
                row.legitimate_stopped_minor,
            ];
            let mut cells = vec![row.currency.to_owned()];
            cells.extend(amounts.map(|minor| major(minor, row.currency)));
            table.row(cells);
        }
        table.write(f)
    }

    fn write_reasons(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table =
            Table::new("Reasons", &["", "count", "fraud", "legitimate", "unlabelled", "precision"]);
        for row in self.reasons.iter().take(REASONS_SHOWN_MAX) {
            let mut cells = vec![row.reason.clone(), thousands(row.count)];
            cells.extend(truth_cells(&row.truth));
            cells.push(percent(row.truth.precision(), 1));
            table.row(cells);
        }
        table.write(f)?;
        let more = self.reasons.len().saturating_sub(REASONS_SHOWN_MAX);
        if more > 0 { writeln!(f, "  and {more} more") } else { Ok(()) }
    }

    fn write_missing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.missing.is_empty() && self.late == 0 {
            return Ok(());
        }
        let mut table = Table::new("Missing", &["", "decisions"]);
        for row in &self.missing {
            table.row(vec![row.part.clone(), thousands(row.count)]);
        }
        if self.degraded > 0 {
            table.row(vec!["anything at all".to_owned(), thousands(self.degraded)]);
        }
        if self.late > 0 {
            table.row(vec!["too late for the windows".to_owned(), thousands(self.late)]);
        }
        table.write(f)
    }

    fn write_skipped(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.input.rows_skipped == 0 {
            return Ok(());
        }
        let what = if self.input.origin == Origin::Log { "records" } else { "rows" };
        writeln!(f, "\nSkipped {what}: {}", thousands(self.input.rows_skipped))?;
        for row in &self.input.skipped {
            let (count, first) = (thousands(row.count), thousands(row.first_sequence));
            writeln!(f, "  {count} because {}; the first is record {first}", row.reason)?;
        }
        if self.input.origin == Origin::Log {
            return Ok(()); // every record is skipped for one of these; the data has more of the first ones
        }
        for bad in &self.input.first_skipped {
            writeln!(f, "  {bad}")?;
        }
        let more = self.input.rows_skipped.saturating_sub(self.input.first_skipped.len() as u64);
        if more > 0 { writeln!(f, "  and {} more", thousands(more)) } else { Ok(()) }
    }
}

/// Where the windows come from. A plain replay says nothing: there it is no question.
fn write_windows(f: &mut fmt::Formatter<'_>, input: &InputSummary) -> fmt::Result {
    let mut windows = match (input.origin, input.windows) {
        (_, Windows::Recorded) => "as the recorded decisions saw them".to_owned(),
        (Origin::File, Windows::Rebuilt)
            if matches!(input.outcomes_follow, None | Some(OutcomesFollow::Candidate)) =>
        {
            return Ok(());
        }
        (Origin::Log, Windows::Rebuilt) => "rebuilt from the transactions and labels of the log".to_owned(),
        (_, Windows::Rebuilt) => "rebuilt".to_owned(),
    };
    match input.outcomes_follow {
        Some(OutcomesFollow::Recorded) => {
            windows.push_str("; approved and declined follow what was answered");
        }
        Some(OutcomesFollow::Baseline) => windows.push_str("; approved and declined follow the baseline"),
        Some(OutcomesFollow::Candidate) | None => {}
    }
    entry(f, "windows", &windows)?;
    input.windows_note.as_deref().map_or(Ok(()), |note| entry(f, "", note))?;
    input.lists_note.as_deref().map_or(Ok(()), |note| entry(f, "lists", note))
}

fn write_quality(f: &mut fmt::Formatter<'_>, quality: &Quality) -> fmt::Result {
    let decimal =
        |value: Option<f64>| value.map_or_else(|| NO_VALUE.to_owned(), |value| format!("{value:.4}"));
    writeln!(f, "\nScore, over {} labelled transactions", thousands(quality.scored))?;
    entry(f, "AUC ROC", &decimal(quality.auc_roc))?;
    entry(f, "average precision", &decimal(quality.average_precision))?;
    entry(f, "recall at 0.1 % FPR", &percent(quality.recall_at_fpr_0_1_percent, 1))?;
    entry(f, "recall at 1 % FPR", &percent(quality.recall_at_fpr_1_percent, 1))?;
    entry(f, "card precision@100", &decimal(quality.card_precision_at_100))?;
    entry(f, "log loss", &decimal(quality.log_loss))?;
    entry(f, "Brier score", &decimal(quality.brier))
}
