//! What is sent: transactions from a file or simulated ones, each with a `transaction_id` and an `occurred_at` of its own.

use std::io::BufRead;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Map, Value};

use tollgate::domain::limits::BODY_BYTES_MAX;
use tollgate::domain::time::EventTime;
use tollgate::domain::transaction::Transaction;
use tollgate::offline::input::Format;
use tollgate::offline::mapping::Mapping;
use tollgate::simulate::parameters::Parameters;
use tollgate::simulate::simulation::Simulation;
use tollgate::wire::transaction::TransactionJson;

use crate::load::mix::{BURST_PAYMENTS, What};
use crate::load::replay;
use crate::load::schedule::Due;

/// Most different transactions; longer runs send them over and over, with new ids.
pub(crate) const TEMPLATES_MAX: usize = 50_000;

/// Customers are simulated in such numbers that each pays about this often in a run: a city's hour squeezed into seconds
/// would look like one long attack.
const PAYMENTS_PER_CUSTOMER: u64 = 4;

/// Where transactions come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    /// Any file of transactions that `tollgate backtest` reads. Lines of NDJSON without a mapping are sent as they are, right or wrong.
    File {
        /// Where.
        path: &'a Path,
        /// Where the fields come from.
        mapping: Option<&'a Mapping>,
        /// Leave out rows that are no transactions.
        skip_bad_rows: bool,
    },
    /// The simulator, from this seed.
    Simulated(u64),
}

/// Everything of a body that stays the same each time that it is sent.
#[derive(Debug)]
struct Template {
    /// What follows on `occurred_at`: the other fields and the closing brace.
    rest: Box<str>,
}

/// The bodies of a run.
#[derive(Debug)]
pub(crate) struct Bodies {
    templates: Vec<Template>,
    /// Names the run in every `transaction_id`, in letters: digits could add up to a card number.
    run: String,
}

impl Bodies {
    /// Reads or makes as many transactions as `requests` asks for, at most `TEMPLATES_MAX`. `now` names the run.
    pub(crate) fn load(source: Source<'_>, requests: u64, now: EventTime) -> anyhow::Result<Self> {
        let templates = match source {
            Source::File { path, mapping: None, .. }
                if matches!(Format::of_path(path), Ok((Format::Ndjson, false))) =>
            {
                read(path)?
            }
            Source::File { path, mapping, skip_bad_rows } => read_rows(path, mapping, skip_bad_rows)?,
            Source::Simulated(seed) => simulate(seed, requests)?,
        };
        let mut number = now.unix_millis().unsigned_abs();
        let mut run = String::new();
        while number > 0 {
            run.push(char::from(b'a' + u8::try_from(number % 26).unwrap_or_default()));
            number /= 26;
        }
        Ok(Self { templates, run })
    }

    /// How many different transactions there are; at least one.
    pub(crate) fn len(&self) -> usize {
        self.templates.len()
    }

    /// Writes the body of a request.
    pub(crate) fn write(&self, due: &Due, body: &mut Vec<u8>) {
        match &due.what {
            What::New => self.write_new(due.index, due.occurred_at, body),
            What::Again { index, occurred_at } => self.write_new(*index, *occurred_at, body),
            What::Burst { number, payment } => self.write_burst(due, *number, *payment, body),
            What::Given(given) => body.extend_from_slice(given),
        }
    }

    fn write_new(&self, index: u64, at: EventTime, body: &mut Vec<u8>) {
        use std::io::Write;
        let place = usize::try_from(index % self.templates.len() as u64).unwrap_or_default();
        // Writing to a Vec cannot fail.
        let _ = write!(
            body,
            "{{\"transaction_id\":\"load-{}-{index}\",\"occurred_at\":\"{at}\"{}",
            self.run, self.templates[place].rest
        );
    }

    /// A card that was stolen: small amounts at one merchant after the other to see whether it is good, then large ones.
    fn write_burst(&self, due: &Due, number: u64, payment: u64, body: &mut Vec<u8>) {
        use std::io::Write;
        let (run, index, at) = (&self.run, due.index, due.occurred_at);
        let amount = if payment < BURST_PAYMENTS * 3 / 4 { 90 + payment } else { 25_000 + 1_100 * payment };
        let merchant = (number * 31 + payment) % 200;
        // Writing to a Vec cannot fail.
        let _ = write!(
            body,
            "{{\"transaction_id\":\"load-{run}-{index}\",\"occurred_at\":\"{at}\",\"amount\":{{\"value\":{amount},\"currency\":\"EUR\"}},\
             \"channel\":\"ecommerce\",\"customer\":{{\"id\":\"load_burst_{run}_{number}\"}},\"card\":{{\"fingerprint\":\"load_burst_{run}_{number}\",\
             \"funding\":\"credit\",\"issuer_country\":\"US\"}},\"merchant\":{{\"id\":\"m_{merchant}\",\"country\":\"DE\"}},\
             \"device\":{{\"id\":\"load_burst_{run}_{number}\",\"ip\":\"203.0.113.{}\"}}}}",
            number % 254 + 1
        );
    }
}

fn template(mut fields: Map<String, Value>) -> anyhow::Result<Template> {
    fields.remove("transaction_id");
    fields.remove("occurred_at");
    let rest = serde_json::to_string(&fields)?;
    let rest = match rest.strip_prefix('{') {
        Some("}") | None => "}".to_owned(),
        Some(fields) => format!(",{fields}"),
    };
    Ok(Template { rest: rest.into() })
}

fn read(path: &Path) -> anyhow::Result<Vec<Template>> {
    let file = std::fs::File::open(path).with_context(|| format!("{}: cannot be opened", path.display()))?;
    let mut templates = Vec::new();
    let mut lines = std::io::BufReader::new(file);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let place = || format!("{}: line {number}", path.display());
        // One byte more than fits, so that a line that is too long is told from one that just fits.
        let bytes_max = BODY_BYTES_MAX as u64 + 2;
        if std::io::Read::take(&mut lines, bytes_max).read_until(b'\n', &mut line).with_context(place)? == 0 {
            break;
        }
        if line.len() > BODY_BYTES_MAX + 1 {
            bail!("{}: is longer than {BODY_BYTES_MAX} bytes", place());
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let fields =
            serde_json::from_slice(&line).with_context(|| format!("{}: is no JSON object", place()))?;
        templates.push(template(fields)?);
        if templates.len() == TEMPLATES_MAX {
            break;
        }
    }
    if templates.is_empty() {
        bail!("{}: has no transactions", path.display());
    }
    Ok(templates)
}

fn read_rows(path: &Path, mapping: Option<&Mapping>, skip_bad_rows: bool) -> anyhow::Result<Vec<Template>> {
    let mut reader = replay::open(path, mapping, skip_bad_rows)?;
    let mut templates = Vec::new();
    while templates.len() < TEMPLATES_MAX {
        let Some(row) = reader.next_row()? else { break };
        templates.push(of_transaction(&row.request.transaction)?);
    }
    if templates.is_empty() {
        bail!("{}: has no transactions", path.display());
    }
    Ok(templates)
}

fn of_transaction(transaction: &Transaction) -> anyhow::Result<Template> {
    match serde_json::to_value(TransactionJson(transaction))? {
        Value::Object(fields) => template(fields),
        _ => bail!("a transaction is no JSON object"),
    }
}

fn simulate(seed: u64, requests: u64) -> anyhow::Result<Vec<Template>> {
    let defaults = Parameters::default();
    let customers = u32::try_from(requests / PAYMENTS_PER_CUSTOMER).unwrap_or(u32::MAX);
    let customers = customers.clamp(defaults.customers, 200_000);
    let simulation = Simulation::new(&Parameters { seed, customers, ..defaults })?;
    let count = usize::try_from(requests).unwrap_or(usize::MAX).min(TEMPLATES_MAX);
    let mut templates = Vec::with_capacity(count);
    for simulated in simulation.take(count) {
        templates.push(of_transaction(&simulated.transaction)?);
    }
    if templates.is_empty() {
        bail!("the simulator made no transactions");
    }
    Ok(templates)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::Write;

    use tollgate::domain::time::{Clock, SystemClock};
    use tollgate::wire::transaction::parse_slice;

    use super::*;
    use crate::load::mix::{Mix, Shares};

    #[test]
    fn every_body_is_a_new_transaction() {
        let now = EventTime::parse_rfc3339("2026-10-20T12:00:00Z").unwrap();
        let mut file = tempfile::Builder::new().suffix(".ndjson").tempfile().unwrap();
        let lines = "{\"amount\":{\"value\":1,\"currency\":\"EUR\"},\"transaction_id\":\"old\",\"mode\":\"dry_run\"}\n\n";
        file.write_all(lines.as_bytes()).unwrap();
        let mut rows = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        let csv = "transaction_id,occurred_at,amount.value,amount.currency\nx,2026-10-20T12:00:00Z,5,EUR\n";
        rows.write_all(csv.as_bytes()).unwrap();
        let sources = [file.path(), rows.path()].map(of_file);
        for source in sources.into_iter().chain([Source::Simulated(1)]) {
            let bodies = Bodies::load(source, 300, now).unwrap();
            let mut mix = Mix::new(Shares { duplicates: 0.0, bursts: 0.1 }, 1);
            let mut ids = HashSet::new();
            for index in 0..1_000 {
                let body = body(&bodies, index, now, mix.next(index, now));
                let request = parse_slice(&body)
                    .unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(&body)));
                assert_eq!(request.transaction.occurred_at, now);
                ids.insert(request.transaction.id.as_str().to_owned());
            }
            assert_eq!(ids.len(), 1_000);
        }
    }

    fn of_file(path: &Path) -> Source<'_> {
        Source::File { path, mapping: None, skip_bad_rows: false }
    }

    fn body(bodies: &Bodies, index: u64, occurred_at: EventTime, what: What) -> Vec<u8> {
        let mut body = Vec::new();
        let at = SystemClock.instant();
        bodies.write(&Due { index, at, occurred_at, is_warm_up: false, what }, &mut body);
        body
    }

    #[test]
    fn a_duplicate_is_the_same_to_the_byte() {
        let first = EventTime::parse_rfc3339("2026-10-20T12:00:00Z").unwrap();
        let later = EventTime::parse_rfc3339("2026-10-20T12:00:05Z").unwrap();
        let bodies = Bodies::load(Source::Simulated(1), 300, first).unwrap();
        let again = What::Again { index: 3, occurred_at: first };
        assert_eq!(body(&bodies, 9, later, again), body(&bodies, 3, first, What::New));
        assert_ne!(body(&bodies, 9, later, What::New), body(&bodies, 3, first, What::New));
    }

    #[test]
    fn files_that_cannot_be_sent_are_refused_by_line() {
        let now = EventTime::parse_rfc3339("2026-10-20T12:00:00Z").unwrap();
        let long = format!("{{\"a\":\"{}\"}}\n", "x".repeat(70_000));
        for (text, expected) in
            [("", "has no transactions"), ("{}\n[1]\n", "line 2"), ("{}\nx\n", "line 2"), (&long, "line 1")]
        {
            let mut file = tempfile::Builder::new().suffix(".ndjson").tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let error = Bodies::load(of_file(file.path()), 1, now).unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{error:#}");
        }
    }
}
