//! One row through a model of 400 trees, depth 6, 160 features, beside libxgboost and hessboost, in one table: margin and
//! attributions.
//!
//! `cargo bench --bench model_table --features xgboost,peers -- --libxgboost PATH` (`--help` says more). Contestants take turns in each
//! of at least seven rounds, a different one first each time, so that whatever else the machine does strikes all alike. A ratio
//! is taken within a round; medians over rounds are printed with the least and the most. Before that, all must agree: margins in
//! every bit, attributions as far as f32 goes.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::report::Section;
use crate::table::contestants::{Contestant, Task, contestants};
use crate::table::options::Options;
use crate::workload::{FEATURES, TREES, model_text, rows};

#[path = "windows_table/report.rs"]
#[allow(dead_code, reason = "the window store's table uses the rest")]
mod report;
#[path = "model_table/mod.rs"]
mod table;
#[path = "model/workload.rs"]
mod workload;

/// Rows before the clock starts: whoever was there before has left its data in the caches.
const WARM_ROWS: usize = 32;
/// Rows between two looks at the clock.
const ROWS_PER_LOOK: usize = 8;
/// How far attributions may be apart, in parts of max(1, |margin|).
const ATTRIBUTION_ERROR_MAX: f32 = 1e-4;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::FAILURE;
        }
    };
    let text = model_text();
    let rows = rows();
    let sections: Vec<Section> = [Task::Margin, Task::Attributions]
        .into_iter()
        .map(|task| {
            let mut all = match contestants(task, &text, &rows, options.libxgboost.as_deref()) {
                Ok(all) => all,
                Err(message) => panic!("{message}"),
            };
            check(task, &mut all, &rows);
            section(task, &options, &mut all, rows.len())
        })
        .collect();
    if options.json {
        let sections: Vec<_> = sections.iter().map(Section::json).collect();
        println!("{}", serde_json::Value::from(sections));
    } else {
        sections.iter().for_each(|section| println!("{}", section.text()));
    }
    ExitCode::SUCCESS
}

/// Everybody computes the same.
fn check(task: Task, all: &mut [Contestant<'_>], rows: &[Vec<f32>]) {
    let (first, others) = all.split_first_mut().unwrap();
    for row in 0..rows.len() {
        let expected = output(task, first, row);
        for other in others.iter_mut() {
            let found = output(task, other, row);
            let scale = expected.iter().sum::<f32>().abs().max(1.0);
            for (feature, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let agree = match task {
                    Task::Margin => found.to_bits() == expected.to_bits(),
                    Task::Attributions => (found - expected).abs() <= ATTRIBUTION_ERROR_MAX * scale,
                };
                assert!(agree, "{}, row {row}, number {feature}: {found}, not {expected}", other.name);
            }
        }
    }
    let names: Vec<&str> = others.iter().map(|other| &*other.name).collect();
    eprintln!("{}: compared {} rows with those of {}", task.name(), rows.len(), names.join(", "));
}

fn output(task: Task, contestant: &mut Contestant<'_>, row: usize) -> Vec<f32> {
    let mut output = vec![f32::NAN; task.numbers()];
    (contestant.run)(row, &mut output);
    output
}

fn section(task: Task, options: &Options, all: &mut [Contestant<'_>], rows: usize) -> Section {
    let title =
        format!("microseconds a row, {TREES} trees of depth 6, {FEATURES} features, one row at a time");
    let columns = &["contestant", "median", "least", "most", "x tollgate", "x least", "x most"];
    let mut section = Section::new(task.name(), title, columns);
    // By contestant: its time in each round.
    let mut times = vec![vec![]; all.len()];
    for round in 0..options.rounds {
        for turn in 0..all.len() {
            let number = (round + turn) % all.len();
            times[number].push(pass(task, &mut all[number], rows, options.pass_time));
        }
    }
    for (contestant, of_one) in all.iter().zip(&times) {
        let time = spread(of_one.clone());
        let ratio = spread(of_one.iter().zip(&times[0]).map(|(one, reference)| one / reference).collect());
        section.row([
            (*contestant.name).into(),
            time[1].into(),
            time[0].into(),
            time[2].into(),
            ratio[1].into(),
            ratio[0].into(),
            ratio[2].into(),
        ]);
    }
    section.note(format!(
        "{} rounds; the median row of a pass of {:?} counts.",
        options.rounds, options.pass_time
    ));
    section
}

/// The median time of a row, in microseconds.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]
fn pass(task: Task, contestant: &mut Contestant<'_>, rows: usize, time: Duration) -> f64 {
    let mut output = vec![0.0; task.numbers()];
    let mut next = (0..rows).cycle();
    for row in next.by_ref().take(WARM_ROWS) {
        (contestant.run)(row, &mut output);
    }
    let mut looks = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < time {
        let look = Instant::now();
        for row in next.by_ref().take(ROWS_PER_LOOK) {
            (contestant.run)(black_box(row), black_box(&mut output));
        }
        looks.push(look.elapsed().as_secs_f64() * 1e6 / ROWS_PER_LOOK as f64);
    }
    spread(looks)[1]
}

/// Least, median and most.
fn spread(mut numbers: Vec<f64>) -> [f64; 3] {
    numbers.sort_unstable_by(f64::total_cmp);
    [numbers[0], numbers[numbers.len() / 2], numbers[numbers.len() - 1]]
}
