//! The rules of a backtest report for people: what each one matches, what it adds, and what shadow rules would change.

use std::cmp::Reverse;
use std::fmt;

use crate::domain::decision::Outcome;
use crate::evaluation::report::{Effect, Part, RuleRow, RuleState, RuleValue, TruthCounts};
use crate::evaluation::text_table::{NO_VALUE, Table, estimate, major, percent, thousands, wrapped};

/// Writes all of it.
pub fn write(f: &mut fmt::Formatter<'_>, rules: &[RuleRow]) -> fmt::Result {
    write_hits(f, rules)?;
    write_added(f, rules)?;
    write_shadow(f, rules)?;
    let silent: Vec<&str> = rules.iter().filter(|row| row.hits == 0).map(|row| row.rule.as_str()).collect();
    if silent.is_empty() {
        return Ok(());
    }
    writeln!(f, "\nRules that never matched: {}", silent.len())?;
    for line in wrapped(&silent) {
        writeln!(f, "  {line}")?;
    }
    Ok(())
}

/// What each rule matches, the one that decides most first.
fn write_hits(f: &mut fmt::Formatter<'_>, rules: &[RuleRow]) -> fmt::Result {
    let columns =
        ["", "state", "says", "hits", "decided", "fraud", "legit.", "unknown", "precision (95 %)", "recall"];
    let mut table = Table::new("Rules", &columns).left(3);
    let mut rows: Vec<&RuleRow> = rules.iter().filter(|row| row.hits > 0).collect();
    rows.sort_by_key(|row| (Reverse(row.decided), Reverse(row.hits)));
    for row in rows {
        let mut cells = vec![
            row.rule.clone(),
            row.state.name().to_owned(),
            row.outcome.name().to_owned(),
            thousands(row.hits),
            thousands(row.decided),
        ];
        cells.extend(truth_cells(&row.truth));
        cells.extend([estimate(row.precision), percent(row.recall.map(|it| it.value), 1)]);
        table.row(cells);
    }
    table.write(f)
}

/// What would be lost without each live rule, the greatest effect first.
fn write_added(f: &mut fmt::Formatter<'_>, rules: &[RuleRow]) -> fmt::Result {
    let columns = ["", "alone", "fraud", "legit.", "unknown", "fraud value", "legit. value", "without it"];
    let mut table = Table::new("What each live rule adds", &columns);
    let live = rules.iter().filter(|row| row.state == RuleState::Live && row.hits > 0);
    let mut rows: Vec<(&RuleRow, &Effect)> =
        live.filter_map(|row| Some((row, row.without_it.as_ref()?))).collect();
    rows.sort_by_key(|(row, effect)| {
        let alone = row.alone.as_ref().map_or(0, |alone| alone.truth.fraud);
        (Reverse(alone), Reverse(effect.count()))
    });
    for (row, effect) in &rows {
        let nothing = || vec![NO_VALUE.to_owned(); 6];
        let mut cells = vec![row.rule.clone()];
        cells.extend(row.alone.as_ref().map_or_else(nothing, part_cells));
        cells.push(effect_text(effect));
        table.row(cells);
    }
    table.write(f)?;
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(f, "  alone: hits that no other live rule has which asks for more than {}", Outcome::Approve)?;
    writeln!(f, "  without it: how many decisions would come out milder or more severe")
}

/// What shadow rules would change, the greatest effect first.
fn write_shadow(f: &mut fmt::Formatter<'_>, rules: &[RuleRow]) -> fmt::Result {
    let columns = ["", "more severe", "fraud", "legit.", "unknown", "fraud value", "legit. value", "milder"];
    let mut table = Table::new("What shadow rules would change if they were live", &columns);
    let shadow = rules.iter().filter(|row| row.hits > 0);
    let mut rows: Vec<(&RuleRow, &Effect)> =
        shadow.filter_map(|row| Some((row, row.if_live.as_ref()?))).collect();
    rows.sort_by_key(|(_, effect)| Reverse(effect.count()));
    for (row, effect) in rows {
        let mut cells = vec![row.rule.clone()];
        cells.extend(part_cells(&effect.more_severe));
        cells.push(thousands(effect.milder.count));
        table.row(cells);
    }
    table.write(f)
}

fn effect_text(effect: &Effect) -> String {
    match (effect.milder.count, effect.more_severe.count) {
        (0, 0) => "the same".to_owned(),
        (milder, 0) => format!("{} milder", thousands(milder)),
        (0, severe) => format!("{} more severe", thousands(severe)),
        (milder, severe) => format!("{} milder, {} more severe", thousands(milder), thousands(severe)),
    }
}

/// Count, truth, and the money in frauds and in legitimate transactions.
fn part_cells(part: &Part) -> Vec<String> {
    let mut cells = vec![thousands(part.count)];
    cells.extend(truth_cells(&part.truth));
    cells.push(money(&part.value, |value| value.fraud_minor));
    cells.push(money(&part.value, |value| value.legitimate_minor));
    cells
}

/// Fraud, legitimate and unknown.
pub fn truth_cells(truth: &TruthCounts) -> [String; 3] {
    [truth.fraud, truth.legitimate, truth.unlabelled].map(thousands)
}

/// The largest amount, by its number of minor units, and how many other currencies there are: a column has no room for all.
pub fn money(values: &[RuleValue], pick: fn(&RuleValue) -> i128) -> String {
    let mut there: Vec<&RuleValue> = values.iter().filter(|value| pick(value) != 0).collect();
    there.sort_by_key(|value| Reverse(pick(value)));
    let Some(first) = there.first() else { return NO_VALUE.to_owned() };
    let text = format!("{} {}", major(pick(first), first.currency), first.currency);
    match there.len() - 1 {
        0 => text,
        more => format!("{text} +{more}"),
    }
}
