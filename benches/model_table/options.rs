//! What the table is asked for.

use std::path::PathBuf;
use std::time::Duration;

/// Rounds below which a median says little.
const ROUNDS_MIN: usize = 7;
/// Pass lengths, in milliseconds: as a bench, and as a test, which only has to work.
const PASS_MS: (u64, u64) = (100, 5);

const HELP: &str = "\
cargo bench --bench model_table [--features xgboost,peers] -- [OPTIONS]

  --rounds N         rounds in which each is measured once, at least 7 [7]
  --pass-ms N        length of one pass, in milliseconds [100]
  --libxgboost PATH  another libxgboost, of version 2 or later, through its C API: the file libxgboost.so
                     (`pip download --no-deps xgboost-cpu==3.4.1`, then unzip the wheel: xgboost/lib/libxgboost.so)
  --json             one JSON document in place of the table

The feature xgboost adds libxgboost 1.6.2 through xgboost-rs, the feature peers adds hessboost.";

/// The command line.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) pass_time: Duration,
    pub(crate) libxgboost: Option<PathBuf>,
    pub(crate) json: bool,
}

impl Options {
    /// Reads the arguments after the program's name; an error is a sentence for people.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let (mut rounds, mut pass_ms, mut libxgboost) = (ROUNDS_MIN, None, None);
        let (mut json, mut is_bench) = (false, false);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--rounds" => rounds = number(&value()?)? as usize,
                "--pass-ms" => pass_ms = Some(number(&value()?)?),
                "--libxgboost" => libxgboost = Some(PathBuf::from(value()?)),
                "--json" => json = true,
                // What cargo says to every bench.
                "--bench" => is_bench = true,
                "--help" | "-h" => return Err(HELP.to_owned()),
                other => return Err(format!("there is no option {other}\n\n{HELP}")),
            }
        }
        if rounds < ROUNDS_MIN {
            return Err(format!("--rounds is {rounds}; a median needs at least {ROUNDS_MIN}"));
        }
        let pass_ms = pass_ms.unwrap_or(if is_bench { PASS_MS.0 } else { PASS_MS.1 });
        Ok(Self { rounds, pass_time: Duration::from_millis(pass_ms), libxgboost, json })
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.replace('_', "").parse().map_err(|_| format!("{text} is no number that fits"))
}
