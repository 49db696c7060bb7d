//! How many instructions each stage of a decision takes, held to what was recorded: a regression shows on a noisy machine, too.
//!
//! `benches/instructions.sh`; `-- --help` lists the options. Valgrind's callgrind interprets this very program (`--counted`), which does
//! each operation of `stages::work` a number of times, and says how many instructions each took with all that it calls.

#![expect(clippy::print_stdout, clippy::print_stderr, clippy::expect_used, reason = "a benchmark")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::baseline::Baseline;
use crate::callgrind::Callgrind;
use crate::stages::inputs::{Inputs, Size};
use crate::stages::work::{ATTRIBUTIONS, OPERATIONS, Work};
use crate::table::options::Format;
use crate::table::report::{Cell, Section};
use crate::table::turns::print;

#[path = "instructions/baseline.rs"]
mod baseline;
#[path = "instructions/callgrind.rs"]
mod callgrind;
#[allow(dead_code, reason = "other programs use the rest")]
mod stages;
#[allow(dead_code, reason = "the tables whose contestants take turns use the rest")]
mod table;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HELP: &str = "\
Counts the instructions of each stage of a decision, and holds them to benches/instructions.txt. Needs valgrind.

  --accept        record what was counted in place of comparing
  --profile FILE  keep what callgrind wrote: `callgrind_annotate FILE` says where the instructions are
  --json          for programs
  --markdown      for a page";

/// How often each operation is done.
const TIMES: u64 = 256;
/// How much more than recorded an operation may take, in percent. benches/README.md says why so much.
const TOLERANCE_PERCENT: f64 = 5.0;

const COLUMNS: &[&str] = &["operation", "instructions", "recorded", "change %"];

/// What the command line asks for.
#[derive(Default)]
struct Options {
    accept: bool,
    profile: Option<PathBuf>,
    format: Format,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut options, mut is_bench) = (Options::default(), false);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            callgrind::COUNTED => return counted(),
            // What cargo says to every bench.
            "--bench" => is_bench = true,
            "--accept" => options.accept = true,
            "--json" => options.format = Format::Json,
            "--markdown" => options.format = Format::Markdown,
            "--profile" => options.profile = arguments.next().map(PathBuf::from),
            _ => {
                println!("{HELP}");
                return ExitCode::from(u8::from(argument != "--help"));
            }
        }
    }
    if !is_bench {
        return ExitCode::SUCCESS;
    }
    match run(&options) {
        Ok(too_many) if too_many.is_empty() => ExitCode::SUCCESS,
        Ok(too_many) => {
            eprintln!(
                "instructions: more than {TOLERANCE_PERCENT} % above {}: {}. If that is meant, record it with benches/instructions.sh \
                 --accept; else --profile FILE and callgrind_annotate say where they are.",
                baseline::FILE,
                too_many.join(", ")
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What callgrind interprets.
fn counted() -> ExitCode {
    println!("{}", callgrind::processor());
    let inputs = Inputs::new(Size::SMALL);
    let cases = inputs.cases(TIMES as usize);
    for operation in &OPERATIONS {
        for case in &cases {
            match operation.work {
                Work::Case(run) => run(&inputs, case),
                Work::Windows(run) => run(&inputs, case, case.windows.clone(), &mut |_| {}),
                Work::Payment(run) => {
                    let (counted, outcome) = run(&inputs, &inputs.payment(), &mut |_| {});
                    inputs.state.record_outcome(&counted, outcome);
                }
            }
        }
    }
    ExitCode::SUCCESS
}

/// Instructions by operation. What has attributions in it is given without them as well.
fn counts(options: &Options) -> Result<Vec<(String, u64)>, Box<dyn Error>> {
    let callgrind = Callgrind::run(options.profile.as_deref())?;
    let of = |symbol| callgrind.instructions(symbol, TIMES);
    let attributions = OPERATIONS.iter().find(|operation| operation.name == ATTRIBUTIONS);
    let attributions = of(attributions.expect("it is one of them").symbol)?;
    let mut counts = Vec::new();
    for operation in &OPERATIONS {
        let count = of(operation.symbol)?;
        counts.push((operation.name.to_owned(), count));
        if operation.has_attributions {
            let without = count.saturating_sub(attributions);
            counts.push((format!("{} without attributions", operation.name), without));
        }
    }
    Ok(counts)
}

/// Counts and prints; gives the operations that take too many.
fn run(options: &Options) -> Result<Vec<String>, Box<dyn Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(baseline::FILE);
    let before = Baseline::read(&path)?;
    let counts = counts(options)?;
    let title = format!("an operation, the mean of {TIMES}; recorded: {}", baseline::FILE);
    let mut section = Section::new("instructions", title, COLUMNS);
    let (mut too_many, mut far_fewer) = (Vec::new(), Vec::new());
    for (name, count) in &counts {
        let recorded = before.counts.get(name).copied();
        let change = recorded.map_or(f64::NAN, |recorded| (*count as f64 / recorded as f64 - 1.0) * 100.0);
        if recorded.is_none() {
            too_many.push(format!("{name} (not recorded)"));
        } else if change > TOLERANCE_PERCENT {
            too_many.push(format!("{name} ({change:+.1} %)"));
        } else if change < -TOLERANCE_PERCENT {
            far_fewer.push(name.clone());
        }
        let recorded = recorded.map_or_else(|| "-".into(), Cell::from);
        section.row([name.as_str().into(), (*count).into(), recorded, change.into()]);
    }
    let made_with = callgrind::made_with()?;
    if before.made_with != made_with && !options.accept {
        section.note(format!(
            "Recorded with {}; counted with {made_with}. Another compiler gives other counts.",
            before.made_with
        ));
    }
    if !far_fewer.is_empty() && !options.accept {
        section.note(format!(
            "Fewer than recorded: {}. Record it with --accept, so that it stays.",
            far_fewer.join(", ")
        ));
    }
    print(&[section], options.format);
    if options.accept {
        Baseline { made_with, counts: counts.into_iter().collect() }.write(&path)?;
        too_many.clear();
    }
    Ok(too_many)
}
