//! What the table is asked for.

use std::time::Duration;

use crate::report::Format;
use crate::support::roster::Candidate;
use crate::support::workload::ATTEMPTS_PER_USER;

/// Rounds below which a median says little.
const ROUNDS_MIN: usize = 7;

/// The command line.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Users that Tollgate's store is filled with.
    pub(crate) users: u32,
    /// Users that the plain stores in process are filled with.
    pub(crate) plain_users: u32,
    /// Users that Redis is filled with.
    pub(crate) redis_users: u32,
    /// Attempts of one user in the fill, on average.
    pub(crate) attempts_per_user: u64,
    /// Every contestant is measured once in each.
    pub(crate) rounds: usize,
    /// Events of one pass and thread.
    pub(crate) events: usize,
    /// A pass ends after that time, whatever is left.
    pub(crate) pass_time_max: Duration,
    /// Names of those who take part; empty for all.
    pub(crate) contestants: Vec<String>,
    /// Names of the sections to print; empty for all.
    pub(crate) sections: Vec<String>,
    pub(crate) format: Format,
}

impl Options {
    pub(crate) const HELP: &str = "\
cargo bench --bench windows_table -- [OPTIONS]

  --users N          users of Tollgate's store, some 5 keys each [1000000]
  --plain-users N    users of the plain stores in process [at most 200000]
  --redis-users N    users of Redis [at most 40000]
  --attempts-per-user N
                     attempts of one user in the fill, on average [10]
  --rounds N         rounds in which each is measured once, at least 7 [7]
  --events N         events of one pass and thread [20000]
  --pass-seconds N   longest time of one pass [1]
  --contestants A,B  only these: tollgate, mutex_hashmap_vecdeque, dashmap_vecdeque,
                     redis_sorted_sets_lua, redis_ping, nobody
  --sections A,B     only these: latency, memory, hottest, size, snapshot, accuracy, growth
  --json             one JSON document in place of the table; --markdown for a page";

    /// Reads the arguments after the program's name; an error is a sentence for people.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter().peekable();
        let (mut users, mut plain_users, mut redis_users) = (None, None, None);
        let mut attempts_per_user = ATTEMPTS_PER_USER;
        let (mut rounds, mut events, mut pass_seconds) = (ROUNDS_MIN, None, 1);
        let (mut contestants, mut sections) = (vec![], vec![]);
        let (mut format, mut is_bench) = (Format::Text, false);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--users" => users = Some(number(&value()?)?),
                "--plain-users" => plain_users = Some(number(&value()?)?),
                "--redis-users" => redis_users = Some(number(&value()?)?),
                "--attempts-per-user" => attempts_per_user = number(&value()?)?,
                "--rounds" => rounds = number(&value()?)?,
                "--events" => events = Some(number(&value()?)?),
                "--pass-seconds" => pass_seconds = number(&value()?)?,
                "--contestants" => contestants = names(&value()?),
                "--sections" => sections = names(&value()?),
                "--json" => format = Format::Json,
                "--markdown" => format = Format::Markdown,
                // What cargo says to every bench.
                "--bench" => is_bench = true,
                "--help" | "-h" => return Err(Self::HELP.to_owned()),
                other => return Err(format!("there is no option {other}\n\n{}", Self::HELP)),
            }
        }
        if rounds < ROUNDS_MIN {
            return Err(format!("--rounds is {rounds}; a median needs at least {ROUNDS_MIN}"));
        }
        // As a test, which is how cargo runs it without `--bench`, it only has to work.
        let (users_default, events_default) = if is_bench { (1_000_000, 20_000) } else { (1_000, 500) };
        let users: u32 = users.unwrap_or(users_default);
        Ok(Self {
            users,
            plain_users: plain_users.unwrap_or_else(|| users.min(200_000)),
            redis_users: redis_users.unwrap_or_else(|| users.min(40_000)),
            attempts_per_user,
            rounds,
            events: events.unwrap_or(events_default),
            pass_time_max: Duration::from_secs(pass_seconds),
            contestants,
            sections,
            format,
        })
    }

    /// Whether that one is to take part.
    pub(crate) fn has(&self, candidate: &Candidate) -> bool {
        self.contestants.is_empty() || self.contestants.iter().any(|asked| asked == candidate.name)
    }

    /// Whether a section of that name is asked for.
    pub(crate) fn has_section(&self, name: &str) -> bool {
        self.sections.is_empty() || self.sections.iter().any(|asked| asked == name)
    }
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.replace('_', "").parse().map_err(|_| format!("{text} is no number that fits"))
}

fn names(text: &str) -> Vec<String> {
    text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}
