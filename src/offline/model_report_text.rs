//! A model report for people.

use std::fmt;

use crate::evaluation::interval::Estimate;
use crate::evaluation::text_table::{NO_VALUE, Table, entry, major, percent, thousands};
use crate::evaluation::truth::Unlabelled;
use crate::offline::model_report::ModelReport;
use crate::offline::operating_point::{AmountEstimate, MoneyAtPoint, OperatingPoint};

impl fmt::Display for ModelReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_head(f)?;
        for point in &self.chosen {
            write_point(f, point)?;
        }
        self.write_ladder(f)?;
        self.write_calibration(f)?;
        writeln!(
            f,
            "\nIn brackets: 95 % intervals, rows taken as independent. Thresholds were chosen on these rows; hold them to later ones."
        )
    }
}

impl ModelReport {
    fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Model report of {}", self.file)?;
        if let Some(model) = &self.model {
            entry(f, "model", model)?;
        }
        let share = Estimate::share(self.frauds, self.rows).map(|share| share.value);
        entry(
            f,
            "rows",
            &format!(
                "{} scored, {} of them fraud ({})",
                thousands(self.rows),
                thousands(self.frauds),
                percent(share, 3)
            ),
        )?;
        let unlabelled = thousands(self.unlabelled);
        match self.unlabelled_are {
            _ if self.unlabelled == 0 => {}
            Unlabelled::Legitimate => entry(f, "no label", &format!("{unlabelled}, taken as legitimate"))?,
            Unlabelled::LeftOut => entry(f, "no label", &format!("{unlabelled}, left out"))?,
        }
        let left_out = [(self.unscored, "no score"), (self.skipped, "an error")];
        let left_out: Vec<String> = left_out
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, why)| format!("{} with {why}", thousands(*count)))
            .collect();
        if !left_out.is_empty() {
            entry(f, "left out", &left_out.join(", "))?;
        }
        for bad in &self.first_skipped {
            writeln!(f, "    {bad}")?;
        }
        let figures = [
            ("AUC ROC", self.auc_roc),
            ("average precision", self.average_precision),
            ("log loss", self.log_loss),
            ("Brier score", self.brier),
        ];
        for (name, value) in figures {
            let value = value.map_or_else(|| NO_VALUE.to_owned(), |value| format!("{value:.4}"));
            entry(f, name, &value)?;
        }
        Ok(())
    }

    fn write_ladder(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = ["at most", "from score", "stopped", "false positives", "recall", "precision"];
        let mut table = Table::new("Other false-positive rates", &columns);
        for point in &self.ladder {
            table.row(vec![
                short_percent(point.asked_false_positive_rate),
                score(point.threshold),
                thousands(point.stopped),
                percent(point.false_positive_rate.map(|share| share.value), 3),
                percent(point.recall.map(|share| share.value), 1),
                percent(point.precision.map(|share| share.value), 1),
            ]);
        }
        table.write(f)
    }

    fn write_calibration(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(calibration) = &self.calibration else { return Ok(()) };
        let columns = ["scores", "rows", "frauds", "announced", "happened"];
        let mut table = Table::new("Does the score mean what it says?", &columns);
        for bin in &calibration.bins {
            table.row(vec![
                format!("{} to {}", score(Some(bin.from_score)), score(Some(bin.to_score))),
                thousands(bin.rows),
                thousands(bin.frauds),
                percent(Some(bin.mean_score), 3),
                share(Some(bin.observed), 3),
            ]);
        }
        table.write(f)?;
        writeln!(
            f,
            "  all scores together announce {:.1} frauds, {} happened; expected calibration error {}",
            calibration.expected_frauds,
            thousands(calibration.observed_frauds),
            percent(Some(calibration.expected_calibration_error), 4)
        )
    }
}

fn write_point(f: &mut fmt::Formatter<'_>, point: &OperatingPoint) -> fmt::Result {
    writeln!(f, "\nAt most {} false positives", short_percent(point.asked_false_positive_rate))?;
    if point.threshold.is_none() {
        return writeln!(
            f,
            "  no threshold: already the transactions with the highest score hold more legitimate ones; nothing is stopped"
        );
    }
    entry(f, "stop from score", &score(point.threshold))?;
    let stopped = format!("{}, {} of them fraud", thousands(point.stopped), thousands(point.fraud_stopped));
    entry(f, "stopped", &stopped)?;
    entry(f, "recall", &share(point.recall, 1))?;
    entry(f, "precision", &share(point.precision, 1))?;
    entry(f, "false positives", &share(point.false_positive_rate, 3))?;
    let columns = ["", "fraud caught", "fraud missed", "caught, by amount", "legitimate stopped"];
    let mut table = Table::new("", &columns);
    let is_touched =
        |money: &&MoneyAtPoint| money.recall_by_amount.is_some() || money.legitimate_stopped.minor > 0;
    for money in point.money.iter().filter(is_touched) {
        table.row(vec![
            money.currency.to_owned(),
            amount(money.fraud_caught, money.currency),
            amount(money.fraud_missed, money.currency),
            share(money.recall_by_amount, 1),
            amount(money.legitimate_stopped, money.currency),
        ]);
    }
    table.write(f)
}

fn share(share: Option<Estimate>, places: usize) -> String {
    share.map_or_else(
        || NO_VALUE.to_owned(),
        |it| {
            format!(
                "{:.places$} % [{:.places$}, {:.places$}]",
                it.value * 100.0,
                it.low * 100.0,
                it.high * 100.0
            )
        },
    )
}

fn amount(amount: AmountEstimate, currency: &str) -> String {
    let [value, low, high] =
        [amount.minor, amount.low_minor, amount.high_minor].map(|it| major(it, currency));
    format!("{value} [{low}, {high}]")
}

/// A score as short as six digits make it.
fn score(score: Option<f64>) -> String {
    match score {
        None => NO_VALUE.to_owned(),
        Some(score) if score >= 0.001 => format!("{score:.6}"),
        Some(score) => format!("{score:.3e}"),
    }
}

fn short_percent(rate: f64) -> String {
    // Rounded first: 0.001 * 100 is 0.1, but 0.07 * 100 is 7.000000000000001.
    format!("{} %", (rate * 1e8).round() / 1e6)
}
