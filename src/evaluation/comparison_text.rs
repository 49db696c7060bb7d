//! The comparison of a backtest report for people: what changes, how much, for whom, and some transactions to look at.

use std::fmt;

use crate::domain::decision::Outcome;
use crate::domain::label::Verdict;
use crate::evaluation::comparison::{ChangeRow, Comparison, Presence, RuleChange, Sample, SampleSide};
use crate::evaluation::report::{Operation, Part, Point, share};
use crate::evaluation::rules_text::{money, truth_cells};
use crate::evaluation::text_table::{Table, entry, estimate, major, percent, thousands};

/// Most rules that are shown; the data has all of them.
const RULES_SHOWN_MAX: usize = 20;
/// Most rules that are named for one sample.
const SAMPLE_RULES_SHOWN_MAX: usize = 4;

/// Writes all of it. `after` is what the candidate's decisions catch and cost.
pub fn write(f: &mut fmt::Formatter<'_>, comparison: &Comparison, after: &Operation) -> fmt::Result {
    let changed = share(comparison.changed, comparison.compared);
    writeln!(
        f,
        "\nAgainst {}: {} of {} decisions differ ({})",
        comparison.against,
        thousands(comparison.changed),
        thousands(comparison.compared),
        percent(changed, 3)
    )?;
    entry(f, "more severe", &part_text(&comparison.effect.more_severe))?;
    entry(f, "milder", &part_text(&comparison.effect.milder))?;
    let differing = &comparison.differing;
    let others = [
        (differing.reason, "another reason"),
        (differing.hits, "other hits"),
        (differing.score, "another score"),
        (differing.reasons, "other reasons in all"),
    ];
    let others: Vec<String> = others
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", thousands(*count)))
        .collect();
    if !others.is_empty() {
        entry(f, "otherwise", &others.join(", "))?;
    }
    write_matrix(f, comparison)?;
    write_changes(f, &comparison.changes)?;
    write_points(f, &comparison.operation_before, after)?;
    write_rules(f, &comparison.rules)?;
    write_samples(f, &comparison.changes)
}

fn part_text(part: &Part) -> String {
    format!(
        "{}: {} fraud ({}), {} legitimate ({}), {} unknown ({})",
        thousands(part.count),
        thousands(part.truth.fraud),
        money(&part.value, |value| value.fraud_minor),
        thousands(part.truth.legitimate),
        money(&part.value, |value| value.legitimate_minor),
        thousands(part.truth.unlabelled),
        money(&part.value, |value| value.unlabelled_minor)
    )
}

/// Before in the rows, after in the columns.
fn write_matrix(f: &mut fmt::Formatter<'_>, comparison: &Comparison) -> fmt::Result {
    let outcomes = Outcome::ALL.map(Outcome::name);
    let mut head = vec!["before \\ after"];
    head.extend(outcomes);
    let mut table = Table::new("Decisions before (rows) and after (columns)", &head);
    for before in Outcome::ALL {
        let mut cells = vec![before.name().to_owned()];
        cells.extend(Outcome::ALL.map(|after| {
            let rows = comparison.changes.iter().chain(&comparison.unchanged);
            let found = rows.into_iter().find(|row| row.before == before && row.after == after);
            found.map_or_else(|| "0".to_owned(), |row| thousands(row.count))
        }));
        table.row(cells);
    }
    table.write(f)
}

fn write_changes(f: &mut fmt::Formatter<'_>, changes: &[ChangeRow]) -> fmt::Result {
    let columns =
        ["", "count", "share", "fraud", "legit.", "unknown", "fraud value", "legit. value", "unknown value"];
    let mut table = Table::new("What changes", &columns);
    for row in changes {
        let mut cells = vec![kind(row), thousands(row.count), percent(row.share, 3)];
        cells.extend(truth_cells(&row.truth));
        cells.push(money(&row.value, |value| value.fraud_minor));
        cells.push(money(&row.value, |value| value.legitimate_minor));
        cells.push(money(&row.value, |value| value.unlabelled_minor));
        table.row(cells);
    }
    table.write(f)
}

fn kind(row: &ChangeRow) -> String {
    format!("{} -> {}", row.before, row.after)
}

fn write_points(f: &mut fmt::Formatter<'_>, before: &Operation, after: &Operation) -> fmt::Result {
    let columns = ["", "count", "precision (95 %)", "recall (95 %)", "false positives (95 %)"];
    let mut table = Table::new("What is stopped", &columns);
    let rows: [(&str, &Point); 4] = [
        ("not APPROVE, before", &before.stopped),
        ("not APPROVE, after", &after.stopped),
        ("BLOCK, before", &before.blocked),
        ("BLOCK, after", &after.blocked),
    ];
    for (name, point) in rows {
        table.row(vec![
            name.to_owned(),
            thousands(point.count),
            estimate(point.precision),
            estimate(point.recall),
            estimate(point.false_positive_rate),
        ]);
    }
    table.write(f)
}

fn write_rules(f: &mut fmt::Formatter<'_>, rules: &[RuleChange]) -> fmt::Result {
    let columns = ["", "where", "hits before", "after", "on both", "decided before", "decided after"];
    let mut table = Table::new("Rules whose hits change", &columns).left(2);
    let moved = rules.iter().filter(|row| {
        row.hits_moved() > 0 || (row.presence != Presence::Both && row.hits_before + row.hits_after > 0)
    });
    let (shown, all) = (moved.clone().take(RULES_SHOWN_MAX), moved.count());
    for row in shown {
        let place = match row.presence {
            Presence::Before => "only before",
            Presence::After => "only after",
            Presence::Both => "both",
        };
        let mut cells = vec![row.rule.clone(), place.to_owned()];
        let counts = [row.hits_before, row.hits_after, row.hits_both, row.decided_before, row.decided_after];
        cells.extend(counts.map(thousands));
        table.row(cells);
    }
    table.write(f)?;
    if all > RULES_SHOWN_MAX { writeln!(f, "  and {} more", all - RULES_SHOWN_MAX) } else { Ok(()) }
}

fn write_samples(f: &mut fmt::Formatter<'_>, changes: &[ChangeRow]) -> fmt::Result {
    for row in changes.iter().filter(|row| !row.samples.is_empty()) {
        let title = format!("Samples of {}: {} of {}", kind(row), row.samples.len(), thousands(row.count));
        let mut table = Table::new(&title, &["", "when", "amount", "truth", "before", "after"]).left(2);
        for sample in &row.samples {
            table.row(sample_cells(sample));
        }
        table.ragged().write(f)?;
    }
    Ok(())
}

fn sample_cells(sample: &Sample) -> Vec<String> {
    let truth = match sample.truth {
        Some(Verdict::Fraud) => "fraud",
        Some(Verdict::Legitimate) => "legitimate",
        None => "unknown",
    };
    vec![
        sample.transaction_id.clone(),
        sample.occurred_at.get(..19).unwrap_or(&sample.occurred_at).replace('T', " "),
        format!("{} {}", major(sample.amount_minor.into(), sample.currency), sample.currency),
        truth.to_owned(),
        side(&sample.before),
        side(&sample.after),
    ]
}

/// The rule that decided, or else the reason; and the other rules that matched.
fn side(side: &SampleSide) -> String {
    let first = side.rule.as_deref().unwrap_or(if side.reason.is_empty() { "?" } else { &side.reason });
    let others: Vec<&str> = side.rules.iter().map(String::as_str).filter(|rule| *rule != first).collect();
    match others.len() {
        0 => first.to_owned(),
        count if count <= SAMPLE_RULES_SHOWN_MAX => format!("{first} (+ {})", others.join(", ")),
        count => {
            let shown = others[..SAMPLE_RULES_SHOWN_MAX].join(", ");
            format!("{first} (+ {shown} and {} more)", count - SAMPLE_RULES_SHOWN_MAX)
        }
    }
}
