//! This program under callgrind, and what callgrind wrote of it.
//!
//! What is counted does not depend on the machine: valgrind shows every program the same processor, in which ours finds no AVX-512; the
//! program has a bare environment, reads no clock, and its allocator gives nothing back to the system, which it would do by the clock.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The argument with which this program does what is counted.
pub(crate) const COUNTED: &str = "--counted";
/// The processor that counts are recorded for.
const PROCESSOR: &str = "x86_64 with AVX2, without AVX-512";
/// Behind the name of a function that was mangled in the old way: its hash.
const HASH: &str = "::h";
const HASH_DIGITS: usize = 16;

/// What this program finds of the processor that it runs on.
pub(crate) fn processor() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return "x86_64 with AVX-512";
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            return PROCESSOR;
        }
    }
    std::env::consts::ARCH
}

/// How often a function was called, and how many instructions it took with all that it calls.
#[derive(Clone, Copy, Default)]
struct Calls {
    calls: u64,
    instructions: u64,
}

/// What was counted.
pub(crate) struct Callgrind(BTreeMap<String, Calls>);

impl Callgrind {
    /// Counts. What callgrind wrote is kept at `profile`, if wanted.
    pub(crate) fn run(profile: Option<&Path>) -> Result<Self, Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let written = directory.path().join("callgrind.out");
        let output = Command::new("valgrind")
            .args(["-q", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no"])
            .arg(format!("--callgrind-out-file={}", written.display()))
            .arg(std::env::current_exe()?)
            .arg(COUNTED)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("MIMALLOC_PURGE_DELAY", "-1")
            .output()
            .map_err(|error| format!("valgrind cannot be started: {error}; apt-get install valgrind"))?;
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            return Err(format!("valgrind: {}\n{complained}", output.status).into());
        }
        if said.trim() != PROCESSOR {
            return Err(format!(
                "under this valgrind the program finds {}; counts are recorded for {PROCESSOR}, which valgrind shows on any x86_64 \
                 machine that has AVX2",
                said.trim()
            )
            .into());
        }
        let text = fs::read_to_string(&written)?;
        if let Some(profile) = profile {
            fs::copy(&written, profile).map_err(|error| format!("{}: {error}", profile.display()))?;
        }
        Ok(Self(parse(&text)))
    }

    /// Instructions of one call of a function that was called so often; `symbol` is the end of its path.
    pub(crate) fn instructions(&self, symbol: &str, times: u64) -> Result<u64, Box<dyn Error>> {
        let found = self.0.iter().filter(|(name, _)| name.ends_with(symbol)).map(|(_, calls)| *calls);
        let all = found.fold(Calls::default(), |sum, calls| Calls {
            calls: sum.calls + calls.calls,
            instructions: sum.instructions + calls.instructions,
        });
        if all.calls != times {
            let calls = all.calls;
            return Err(format!(
                "{symbol} was called {calls} times, not {times}: is it #[inline(never)], and are symbols there?"
            )
            .into());
        }
        Ok(all.instructions / times)
    }
}

/// What counts depend on beside the code.
pub(crate) fn made_with() -> Result<String, Box<dyn Error>> {
    let version = |program: &str, argument| -> Result<String, Box<dyn Error>> {
        let output = Command::new(program).arg(argument).output();
        let output = output.map_err(|error| format!("{program} {argument}: {error}"))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    Ok(format!("{}, {}", version("rustc", "-V")?, version("valgrind", "--version")?))
}

/// Of each function that was called, its calls. A call is three lines: `cfn=` and the name, `calls=` and how often, and after a line
/// number what it took.
fn parse(text: &str) -> BTreeMap<String, Calls> {
    let mut functions: BTreeMap<String, Calls> = BTreeMap::new();
    let (mut callee, mut calls) = ("", 0);
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("cfn=") {
            callee = without_hash(name);
        } else if let Some(counts) = line.strip_prefix("calls=") {
            calls = first_number(counts);
        } else if calls > 0 {
            let taken = functions.entry(callee.to_owned()).or_default();
            taken.calls += std::mem::take(&mut calls);
            taken.instructions += line.split_once(' ').map_or(0, |(_, cost)| first_number(cost));
        }
    }
    functions
}

fn first_number(text: &str) -> u64 {
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn without_hash(name: &str) -> &str {
    match name.rsplit_once(HASH) {
        Some((path, hash)) if hash.len() == HASH_DIGITS => path,
        _ => name,
    }
}
