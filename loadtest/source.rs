//! What is sent: transactions from a file or simulated ones, each with a `transaction_id` and an `occurred_at` of its own.

use std::io::BufRead;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Map, Value};

use tollgate::domain::limits::BODY_BYTES_MAX;
use tollgate::domain::time::EventTime;
use tollgate::simulate::parameters::Parameters;
use tollgate::simulate::simulation::Simulation;
use tollgate::wire::transaction::TransactionJson;

/// Most different transactions; longer runs send them over and over, with new ids.
pub(crate) const TEMPLATES_MAX: usize = 50_000;

/// Customers are simulated in such numbers that each pays about this often in a run: a city's hour squeezed into seconds
/// would look like one long attack.
const PAYMENTS_PER_CUSTOMER: u64 = 4;

/// Where transactions come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    /// One JSON object a line.
    File(&'a Path),
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
    /// Reads or makes as many transactions as `requests` asks for, at most 50,000. `now` names the run.
    pub(crate) fn load(source: Source<'_>, requests: u64, now: EventTime) -> anyhow::Result<Self> {
        let templates = match source {
            Source::File(path) => read(path)?,
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

    /// Writes the body of request `index`, which is due at `at`.
    pub(crate) fn write(&self, index: u64, at: EventTime, body: &mut Vec<u8>) {
        use std::io::Write;
        let place = usize::try_from(index % self.templates.len() as u64).unwrap_or_default();
        // Writing to a Vec cannot fail.
        let _ = write!(
            body,
            "{{\"transaction_id\":\"load-{}-{index}\",\"occurred_at\":\"{at}\"{}",
            self.run, self.templates[place].rest
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

fn simulate(seed: u64, requests: u64) -> anyhow::Result<Vec<Template>> {
    let defaults = Parameters::default();
    let customers = u32::try_from(requests / PAYMENTS_PER_CUSTOMER).unwrap_or(u32::MAX);
    let customers = customers.clamp(defaults.customers, 200_000);
    let simulation = Simulation::new(&Parameters { seed, customers, ..defaults })?;
    let count = usize::try_from(requests).unwrap_or(usize::MAX).min(TEMPLATES_MAX);
    let mut templates = Vec::with_capacity(count);
    for simulated in simulation.take(count) {
        match serde_json::to_value(TransactionJson(&simulated.transaction))? {
            Value::Object(fields) => templates.push(template(fields)?),
            _ => bail!("a simulated transaction is no JSON object"),
        }
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

    use tollgate::wire::transaction::parse_slice;

    use super::*;

    #[test]
    fn every_body_is_a_new_transaction() {
        let now = EventTime::parse_rfc3339("2026-10-20T12:00:00Z").unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let lines = "{\"amount\":{\"value\":1,\"currency\":\"EUR\"},\"transaction_id\":\"old\",\"mode\":\"dry_run\"}\n\n";
        file.write_all(lines.as_bytes()).unwrap();
        for source in [Source::File(file.path()), Source::Simulated(1)] {
            let bodies = Bodies::load(source, 300, now).unwrap();
            let mut ids = HashSet::new();
            for index in 0..1_000 {
                let mut body = Vec::new();
                bodies.write(index, now, &mut body);
                let request = parse_slice(&body)
                    .unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(&body)));
                assert_eq!(request.transaction.occurred_at, now);
                ids.insert(request.transaction.id.as_str().to_owned());
            }
            assert_eq!(ids.len(), 1_000);
        }
    }

    #[test]
    fn files_that_cannot_be_sent_are_refused_by_line() {
        let now = EventTime::parse_rfc3339("2026-10-20T12:00:00Z").unwrap();
        let long = format!("{{\"a\":\"{}\"}}\n", "x".repeat(70_000));
        for (text, expected) in
            [("", "has no transactions"), ("{}\n[1]\n", "line 2"), ("{}\nx\n", "line 2"), (&long, "line 1")]
        {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let error = Bodies::load(Source::File(file.path()), 1, now).unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{error:#}");
        }
    }
}
