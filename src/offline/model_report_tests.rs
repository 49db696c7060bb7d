//! The model report against numpy, SciPy and scikit-learn (`tests/data/model_report`), against a naive computation over the public
//! data set where it is at hand, and its pictures against the rules of XML.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::domain::money::{Currency, Money};
use crate::evaluation::interval::Estimate;
use crate::evaluation::truth::Unlabelled;
use crate::offline::calibration::{HISTOGRAM_BINS, RELIABILITY_BINS_MAX};
use crate::offline::model_report::ModelReport;
use crate::offline::operating_point::{AmountEstimate, at_false_positive_rate, sort};
use crate::offline::picture::pictures;
use crate::offline::scored::{ScoredAmount, ScoredRows};

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/model_report").join(file)
}

fn report() -> ModelReport {
    let scored = ScoredRows::read(&golden("scored.csv"), Unlabelled::LeftOut, false, |_| true).unwrap();
    ModelReport::new("scored.csv".to_owned(), None, scored, &[0.001, 0.01])
}

fn close(have: f64, want: &Value, what: &str) {
    let want = want.as_f64().unwrap();
    assert!((have - want).abs() <= 1e-9 * want.abs().max(1.0), "{what}: {have}, not {want}");
}

fn close_estimate(have: Option<Estimate>, want: &Value, what: &str) {
    let Some(have) = have else { return assert!(want.is_null(), "{what}: nothing, not {want}") };
    for (have, at) in [(have.value, 0), (have.low, 1), (have.high, 2)] {
        close(have, &want[at], what);
    }
}

fn close_amount(have: AmountEstimate, want: &Value, what: &str) {
    assert_eq!(i64::try_from(have.minor).unwrap(), want[0].as_i64().unwrap(), "{what}");
    for (have, at) in [(have.low_minor, 1), (have.high_minor, 2)] {
        let want = want[at].as_f64().unwrap();
        assert!((have as f64 - want).abs() <= 0.5 + 1e-6, "{what}: {have}, not {want}");
    }
}

#[test]
fn the_numbers_are_those_of_other_libraries() {
    let report = report();
    let expected: Value =
        serde_json::from_str(&std::fs::read_to_string(golden("expected.json")).unwrap()).unwrap();
    for (have, name) in [(report.rows, "rows"), (report.frauds, "frauds"), (report.unlabelled, "unlabelled")]
    {
        assert_eq!(have, expected[name].as_u64().unwrap(), "{name}");
    }
    let figures = [
        (report.auc_roc, "auc_roc"),
        (report.average_precision, "average_precision"),
        (report.log_loss, "log_loss"),
        (report.brier, "brier"),
        (report.calibration.as_ref().map(|it| it.expected_frauds), "expected_frauds"),
    ];
    for (have, name) in figures {
        close(have.unwrap(), &expected[name], name);
    }
    let points = expected["points"].as_array().unwrap();
    assert_eq!(points.len(), report.chosen.len());
    for (point, want) in report.chosen.iter().zip(points) {
        close(point.asked_false_positive_rate, &want["rate"], "rate");
        close(point.threshold.unwrap(), &want["threshold"], "threshold");
        assert_eq!(point.stopped, want["stopped"].as_u64().unwrap());
        assert_eq!(point.fraud_stopped, want["fraud_stopped"].as_u64().unwrap());
        close_estimate(point.recall, &want["recall"], "recall");
        close_estimate(point.precision, &want["precision"], "precision");
        close_estimate(point.false_positive_rate, &want["false_positive_rate"], "false_positive_rate");
        assert_eq!(point.money.len(), want["money"].as_object().unwrap().len());
        for money in &point.money {
            let want = &want["money"][money.currency];
            close_amount(money.fraud_caught, &want["fraud_caught"], money.currency);
            close_amount(money.fraud_missed, &want["fraud_missed"], money.currency);
            close_amount(money.legitimate_stopped, &want["legitimate_stopped"], money.currency);
            close_estimate(money.recall_by_amount, &want["recall_by_amount"], money.currency);
        }
    }
}

#[test]
fn rows_without_a_label_are_what_the_caller_says() {
    let read = |unlabelled| ScoredRows::read(&golden("scored.csv"), unlabelled, false, |_| true).unwrap();
    let (legitimate, left_out) = (read(Unlabelled::Legitimate), read(Unlabelled::LeftOut));
    assert_eq!(legitimate.unlabelled, left_out.unlabelled);
    assert_eq!(legitimate.rows.len() as u64, left_out.rows.len() as u64 + left_out.unlabelled);
    let frauds = |scored: &ScoredRows| scored.rows.iter().filter(|row| row.is_fraud).count();
    assert_eq!(frauds(&legitimate), frauds(&left_out));
    let text = ModelReport::new("scored.csv".to_owned(), None, legitimate, &[0.001]).to_string();
    assert!(text.contains("113, taken as legitimate"), "{text}");
}

#[test]
fn bins_and_curve_leave_nothing_out() {
    let report = report();
    let calibration = report.calibration.unwrap();
    assert!(
        calibration.bins.len() > RELIABILITY_BINS_MAX / 2 && calibration.bins.len() <= RELIABILITY_BINS_MAX
    );
    assert_eq!(calibration.bins.iter().map(|bin| bin.rows).sum::<u64>(), report.rows);
    assert_eq!(calibration.bins.iter().map(|bin| bin.frauds).sum::<u64>(), report.frauds);
    for pair in calibration.bins.windows(2) {
        assert!(pair[0].from_score > pair[1].to_score, "bins do not overlap, and ties are not parted");
    }
    let announced: f64 = calibration.bins.iter().map(|bin| bin.mean_score * bin.rows as f64).sum();
    assert!((announced - calibration.expected_frauds).abs() < 1e-6);

    assert_eq!(report.histogram.len(), HISTOGRAM_BINS);
    assert_eq!(report.histogram.iter().map(|bin| bin.legitimate + bin.fraud).sum::<u64>(), report.rows);
    assert_eq!(report.histogram.iter().map(|bin| bin.fraud).sum::<u64>(), report.frauds);

    let last = report.precision_recall.last().unwrap();
    assert!((last.recall - 1.0).abs() < 1e-12);
    assert!((last.precision - report.frauds as f64 / report.rows as f64).abs() < 1e-12);
    assert!(report.precision_recall.windows(2).all(|pair| pair[0].threshold > pair[1].threshold));
}

fn row(score: f64, is_fraud: bool, minor: i64, currency: &str) -> ScoredAmount {
    let amount = Money::from_minor(minor, Currency::parse(currency).unwrap()).unwrap();
    ScoredAmount { score, is_fraud, amount }
}

#[test]
fn thresholds_at_the_edges() {
    let mut rows = vec![
        row(0.9, false, 100, "EUR"),
        row(0.9, true, 500, "EUR"),
        row(0.5, true, 7, "JPY"),
        row(0.1, false, 100, "EUR"),
    ];
    sort(&mut rows);
    // Rate asked for, threshold, stopped, fraud among them.
    let cases = [(0.0, None, 0, 0), (0.4, None, 0, 0), (0.5, Some(0.5), 3, 2), (1.0, Some(0.1), 4, 2)];
    for (rate, threshold, stopped, fraud_stopped) in cases {
        let point = at_false_positive_rate(&rows, rate);
        assert_eq!(
            (point.threshold, point.stopped, point.fraud_stopped),
            (threshold, stopped, fraud_stopped)
        );
    }
    let point = at_false_positive_rate(&rows, 0.5);
    let [euro, yen] = point.money.as_slice() else { panic!("{point:?}") };
    assert_eq!((euro.currency, euro.fraud_caught.minor, euro.legitimate_stopped.minor), ("EUR", 500, 100));
    assert_eq!((yen.currency, yen.fraud_caught.minor, yen.fraud_missed.minor), ("JPY", 7, 0));
    assert_eq!(at_false_positive_rate(&[], 0.1).recall, None);
    // Without a legitimate row above it, all frauds at the top are stopped even at a rate of 0.
    let clean = [row(0.9, true, 1, "EUR"), row(0.1, false, 1, "EUR")];
    assert_eq!(at_false_positive_rate(&clean, 0.0).threshold, Some(0.9));
}

#[test]
fn a_wrong_scored_file_is_refused_by_row_and_column() {
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        ("score,label,amount\n0.5,1,3\n", "currency"),
        ("score,label,amount,currency\n0.5,1,3,EUR\n1.5,1,3,EUR\n", "row 2, column \"score\""),
        ("score,label,amount,currency\n0.5,maybe,3,EUR\n", "row 1, column \"label\": \"maybe\""),
        ("score,label,amount,currency\n0.5,0,-3,EUR\n", "column \"amount\""),
        ("score,label,amount,currency\n0.5,0,3.999,EUR\n", "column \"amount\""),
        ("score,label,amount,currency\n0.5,0,3,XXY\n", "ISO 4217"),
    ];
    for (at, (text, expected)) in cases.iter().enumerate() {
        let file = directory.path().join(format!("{at}.csv"));
        std::fs::write(&file, text).unwrap();
        let error = ScoredRows::read(&file, Unlabelled::LeftOut, false, |_| true).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let skipped =
        ScoredRows::read(&directory.path().join("1.csv"), Unlabelled::LeftOut, true, |_| true).unwrap();
    assert_eq!((skipped.rows.len(), skipped.skipped, skipped.first_skipped.len()), (1, 1, 1));
}

#[test]
fn the_text_names_what_a_threshold_does() {
    let text = report().to_string();
    for part in
        ["At most 0.1 % false positives", "At most 1 % false positives", "fraud caught", "EUR", "announced"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

/// Every opened element is closed in its order, attributes are quoted, text is escaped; and how often each element comes.
fn elements(svg: &str) -> std::collections::BTreeMap<String, usize> {
    let (mut open, mut counts) = (Vec::new(), std::collections::BTreeMap::new());
    let mut rest = svg;
    while let Some(start) = rest.find('<') {
        let text = &rest[..start];
        assert!(!text.contains('>'), "{text}");
        for (at, _) in text.match_indices('&') {
            let entity = &text[at..text[at..].find(';').map_or(at + 1, |end| at + end + 1)];
            assert!(["&amp;", "&lt;", "&gt;", "&quot;", "&apos;"].contains(&entity), "{entity}");
        }
        let end = start + rest[start..].find('>').expect("a tag ends");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name.trim()), "closed in the order of opening");
            continue;
        }
        if tag.starts_with(['?', '!']) {
            continue;
        }
        let body = tag.strip_suffix('/').unwrap_or(tag);
        let (name, attributes) = body.split_once(char::is_whitespace).unwrap_or((body, ""));
        let parts: Vec<&str> = attributes.split('"').collect();
        assert!(parts.len() % 2 == 1, "quotes in pairs: {tag}");
        for pair in parts.chunks_exact(2) {
            assert!(pair[0].trim().ends_with('='), "an attribute has a name: {tag}");
            assert!(!pair[1].contains('<') && !pair[1].contains("NaN") && !pair[1].contains("inf"), "{tag}");
        }
        *counts.entry(name.to_owned()).or_default() += 1;
        if !tag.ends_with('/') {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "left open: {open:?}, left over: {rest}");
    counts
}

#[test]
fn pictures_are_well_formed_and_show_every_number() {
    let report = report();
    let pictures = pictures(&report).unwrap();
    assert_eq!(
        pictures.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["reliability.svg", "precision_recall.svg", "scores.svg"]
    );
    let counts: Vec<_> = pictures.iter().map(|(_, svg)| elements(svg)).collect();
    for ((name, svg), counts) in pictures.iter().zip(&counts) {
        assert_eq!(counts["svg"], 1, "{name}");
        assert!(counts["text"] > 8, "{name} has titles and labels on its axes");
        assert!(svg.starts_with("<svg ") && svg.contains("xmlns=\"http://www.w3.org/2000/svg\""), "{name}");
    }
    assert_eq!(counts[0]["circle"], report.calibration.as_ref().unwrap().bins.len());
    // A mark on the curve and one in the legend.
    assert_eq!(counts[1]["circle"], 2 * report.chosen.len());
    let bars =
        report.histogram.iter().map(|bin| usize::from(bin.legitimate > 0) + usize::from(bin.fraud > 0));
    assert!(counts[2]["rect"] >= bars.sum::<usize>() + 2);

    // One fraud, one legitimate row, no threshold: still pictures.
    let scored = ScoredRows {
        rows: vec![row(0.0, true, 1, "EUR"), row(1.0, false, 1, "EUR")],
        ..ScoredRows::default()
    };
    let least = ModelReport::new("two rows".to_owned(), None, scored, &[0.001]);
    assert!(least.to_string().contains("no threshold"));
    for (_, svg) in super::picture::pictures(&least).unwrap() {
        elements(&svg);
    }
}

/// Replays the first rows of the Handbook's transactions with the shipped model, and finds the thresholds again by counting for every
/// score.
#[cfg(feature = "parquet")]
#[test]
fn thresholds_over_the_handbook_are_those_of_plain_counting() {
    use std::ops::ControlFlow;

    use crate::engine::policy::{Policy, PolicyFiles};
    use crate::engine::settings::{MissingPolicy, OnMissing};
    use crate::evaluation::session::Session;
    use crate::model::backend::Backend;
    use crate::offline::backtest::{BacktestOptions, Other, replay};
    use crate::offline::mapping::Mapping;
    use crate::offline::replay_files::ReplayFiles;

    const ROWS: u64 = 12_000;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let input = root.join("../shared/data/handbook_2018-04-01_2018-09-04.parquet");
    if !input.exists() {
        return;
    }
    let files = PolicyFiles {
        rules: root.join("rules"),
        model: Some(root.join("models/default")),
        backend: Backend::default(),
        challengers: Vec::new(),
        features: root.join("models/features.yaml"),
    };
    let missing = MissingPolicy {
        enrich: OnMissing::Continue,
        model: OnMissing::Continue,
        overload: OnMissing::Continue,
    };
    let policy = Policy::load(&files, missing).unwrap();
    let mapping = Mapping::load(&root.join("models/mappings/handbook.yaml")).unwrap();
    let files = ReplayFiles { input: &input, labels: None, mapping: Some(&mapping), skip_bad_rows: false };
    let options = BacktestOptions { files, from: None, to: None, limit: Some(ROWS) };
    let mut scored = ScoredRows::default();
    replay(&Session::new(&policy), Other::Nothing, &options, |decided, _| {
        let score = decided.judgement.score.map(f64::from);
        scored.add(&input, score, decided.truth, decided.transaction.amount).unwrap();
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(scored.rows.len() as u64 + scored.unscored, ROWS);
    let mut rows = scored.rows;
    let legitimate = rows.iter().filter(|row| !row.is_fraud).count();
    assert!(rows.len() > legitimate, "there is fraud among them");
    sort(&mut rows);
    let mut scores: Vec<f64> = rows.iter().map(|row| row.score).collect();
    scores.dedup();
    for rate in [0.001, 0.01, 0.05] {
        let point = at_false_positive_rate(&rows, rate);
        let stops = |threshold: f64, is_fraud: bool| {
            rows.iter().filter(move |row| row.score >= threshold && row.is_fraud == is_fraud)
        };
        let allowed = scores
            .iter()
            .take_while(|score| stops(**score, false).count() as f64 / legitimate as f64 <= rate)
            .last()
            .copied();
        assert_eq!(point.threshold, allowed, "{rate}");
        let caught: i128 =
            stops(allowed.unwrap_or(f64::INFINITY), true).map(|row| i128::from(row.amount.minor())).sum();
        assert_eq!(point.money.iter().map(|money| money.fraud_caught.minor).sum::<i128>(), caught, "{rate}");
    }
}
