//! One row through a model of 400 trees, depth 6, 160 features, beside libxgboost and hessboost, in one table: margin and
//! attributions.
//!
//! `cargo bench --bench model_table --features xgboost,peers -- --libxgboost PATH` (`--help` says more). Contestants take turns in each
//! of at least seven rounds, a different one first each time, so that whatever else the machine does strikes all alike. A ratio
//! is taken within a round; medians over rounds are printed with the least and the most. Before that, all must agree: margins in
//! every bit, attributions as far as f32 goes.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;

use crate::field::contestants::{Contestant, Task, contestants};
use crate::table::options::Options;
use crate::table::report::Section;
use crate::table::turns::{Turn, print};
use crate::workload::{FEATURES, TREES, model_text, rows};

#[path = "model_table/mod.rs"]
mod field;
#[allow(dead_code, reason = "the other tables use the rest")]
#[path = "table/mod.rs"]
mod table;
#[path = "model/workload.rs"]
mod workload;

/// How far attributions may be apart, in parts of max(1, |margin|).
const ATTRIBUTION_ERROR_MAX: f32 = 1e-4;

const HELP: &str = "\
cargo bench --bench model_table [--features xgboost,peers] -- [OPTIONS]

  --rounds N         rounds in which each is measured once, at least 7 [7]
  --pass-ms N        length of one pass, in milliseconds [100]
  --libxgboost PATH  another libxgboost, of version 2 or later, through its C API: the file libxgboost.so
                     (`pip download --no-deps xgboost-cpu==3.4.1`, then unzip the wheel: xgboost/lib/libxgboost.so)
  --json             one JSON document in place of the table; --markdown for a page

The feature xgboost adds libxgboost 1.6.2 through xgboost-rs, the feature peers adds hessboost.";

fn main() -> ExitCode {
    let options = match Options::parse(HELP, &["--libxgboost"]) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::FAILURE;
        }
    };
    let text = model_text();
    let rows = rows();
    let libxgboost = options.own.get("--libxgboost").map(Path::new);
    let sections: Vec<Section> = [Task::Margin, Task::Attributions]
        .into_iter()
        .map(|task| {
            let mut all = match contestants(task, &text, &rows, libxgboost) {
                Ok(all) => all,
                Err(message) => panic!("{message}"),
            };
            check(task, &mut all, &rows);
            section(task, &options, all, rows.len())
        })
        .collect();
    print(&sections, options.format);
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

fn section(task: Task, options: &Options, all: Vec<Contestant<'_>>, rows: usize) -> Section {
    let title =
        format!("microseconds a row, {TREES} trees of depth 6, {FEATURES} features, one row at a time");
    let turn = |contestant| turn(task, contestant);
    options.turns.section(task.name(), title, all.into_iter().map(turn).collect(), rows)
}

fn turn(task: Task, contestant: Contestant<'_>) -> Turn<'_> {
    let Contestant { name, mut run } = contestant;
    let mut output = vec![0.0; task.numbers()];
    (name, Box::new(move |row| run(row, black_box(&mut output))))
}
