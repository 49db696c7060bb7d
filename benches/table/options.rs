//! What such a table is asked for.

use std::collections::HashMap;
use std::time::Duration;

use crate::table::turns::Turns;

/// Rounds below which a median says little.
const ROUNDS_MIN: usize = 7;
/// Pass lengths, in milliseconds: as a bench, and as a test, which only has to work.
const PASS_MS: (u64, u64) = (100, 5);

/// How the sections are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Format {
    /// For a terminal.
    #[default]
    Text,
    /// For a page.
    Markdown,
    /// For programs: one document.
    Json,
}

/// The command line.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) turns: Turns,
    pub(crate) format: Format,
    /// Whether this is a bench, and no test.
    pub(crate) is_bench: bool,
    /// What a bench of its own adds: values by the option that they follow.
    pub(crate) own: HashMap<String, String>,
}

impl Options {
    /// Reads the arguments after the program's name; an error is a sentence for people. `help` names the options, those of `own`
    /// among them.
    pub(crate) fn parse(help: &str, own: &[&str]) -> Result<Self, String> {
        let mut arguments = std::env::args().skip(1);
        let (mut rounds, mut pass_ms, mut found) = (ROUNDS_MIN, None, HashMap::new());
        let (mut format, mut is_bench) = (Format::Text, false);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--rounds" => rounds = number(&value()?)? as usize,
                "--pass-ms" => pass_ms = Some(number(&value()?)?),
                "--json" => format = Format::Json,
                "--markdown" => format = Format::Markdown,
                // What cargo says to every bench.
                "--bench" => is_bench = true,
                "--help" | "-h" => return Err(help.to_owned()),
                option if own.contains(&option) => {
                    found.insert(option.to_owned(), value()?);
                }
                other => return Err(format!("there is no option {other}\n\n{help}")),
            }
        }
        if rounds < ROUNDS_MIN {
            return Err(format!("--rounds is {rounds}; a median needs at least {ROUNDS_MIN}"));
        }
        let pass_ms = pass_ms.unwrap_or(if is_bench { PASS_MS.0 } else { PASS_MS.1 });
        let turns = Turns { rounds, pass_time: Duration::from_millis(pass_ms), is_cold: false };
        Ok(Self { turns, format, is_bench, own: found })
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.replace('_', "").parse().map_err(|_| format!("{text} is no number that fits"))
}
