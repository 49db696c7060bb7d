//! The Lua that does in Redis what the store does: one call for one transaction and all six entities.
//!
//! It is written for the catalogue at hand, as a person would write it who knows what is to be read: no table of reads is
//! walked at run time. A key of an entity has a sorted set of attempts (`:a`, members are packed doubles), of approved (`:y`) and
//! declined ones (`:n`), of labels (`:l`) and of those that say fraud (`:f`), all by time. Attempts are fetched once, as far back as
//! the longest window, and scanned newest first; of the others, `ZCOUNT` counts what is in each window.

use std::fmt::Write as _;

use tollgate::domain::money::Currency;
use tollgate::window::plan::{Measure, SinceMeasure};

use super::reads::{CountRead, EVENTS_PER_KEY_MAX, EntityReads, Reads, millis};

/// Doubles of a member before the attributes: time, transaction, minor units, currency, latitude and longitude.
pub(crate) const MEMBER_HEAD: usize = 6;

/// Both currencies of the workload have two decimal places.
const MINOR_PER_MAJOR: i64 = 100;

/// One of them: thresholds are the same in both.
fn euro() -> Currency {
    Currency::parse("EUR").expect("a currency")
}

const DISTANCE: &str = "
local rad, sin, cos, sqrt, asin = math.rad, math.sin, math.cos, math.sqrt, math.asin
local function distance_km(lat1, lon1, lat2, lon2)
  local h = sin(rad(lat2 - lat1) / 2) ^ 2 + cos(rad(lat1)) * cos(rad(lat2)) * sin(rad(lon2 - lon1) / 2) ^ 2
  if h > 1 then h = 1 end
  return 2 * 6371.0088 * asin(sqrt(h))
end
";

/// Reads every number as of the transaction and adds it. `KEYS`: one of each entity; `ARGV`: one member of each. Answers all
/// numbers as packed doubles, in the order of the outputs that stand beside the script.
pub(crate) fn observe(reads: &Reads) -> (String, Vec<usize>) {
    let mut script = format!("local out, NAN, unpack_member = {{}}, 0/0, struct.unpack\n{DISTANCE}");
    let mut outputs = vec![];
    for (number, entity) in reads.entities.iter().enumerate() {
        let mut function = Function { entity, outputs: &mut outputs };
        script.push_str(&function.text(number + 1));
    }
    let format = "d".repeat(outputs.len());
    let _ = writeln!(script, "return struct.pack('<{format}', unpack(out, 1, {}))", outputs.len());
    (script, outputs)
}

/// Adds without reading. `ARGV`: the members, and the time last.
pub(crate) fn add(reads: &Reads) -> String {
    let mut script = String::from("local at = tonumber(ARGV[7])\n");
    for (number, entity) in reads.entities.iter().enumerate() {
        let (key, member) = (format!("KEYS[{}] .. ':a'", number + 1), format!("ARGV[{}]", number + 1));
        script.push_str(&add_attempt(entity, &key, &member));
    }
    script
}

/// Records an outcome or a label in one or two sorted sets of each entity. `ARGV`: the member, its time, and the endings of
/// the sets' names.
pub(crate) fn record(reads: &Reads) -> String {
    let mut script = String::new();
    for (number, entity) in reads.entities.iter().enumerate() {
        let _ = writeln!(
            script,
            "for ending = 3, #ARGV do
               local key = KEYS[{}] .. ARGV[ending]
               redis.call('ZADD', key, ARGV[2], ARGV[1])
               redis.call('ZREMRANGEBYSCORE', key, '-inf', tonumber(ARGV[2]) - {})
               redis.call('PEXPIRE', key, {})
             end",
            number + 1,
            2 * entity.longest_ms,
            2 * entity.longest_ms,
        );
    }
    script
}

fn add_attempt(entity: &EntityReads, key: &str, member: &str) -> String {
    let kept_ms = 2 * entity.longest_ms;
    format!(
        "redis.call('ZADD', {key}, at, {member})
         redis.call('ZREMRANGEBYSCORE', {key}, '-inf', at - {kept_ms})
         redis.call('ZREMRANGEBYRANK', {key}, 0, -{})
         redis.call('PEXPIRE', {key}, {kept_ms})\n",
        EVENTS_PER_KEY_MAX + 1
    )
}

/// The function of one entity.
struct Function<'a> {
    entity: &'a EntityReads,
    outputs: &'a mut Vec<usize>,
}

impl Function<'_> {
    /// The place in the answer where an output's number goes, from 1.
    fn place(&mut self, output: usize) -> usize {
        self.outputs.push(output);
        self.outputs.len()
    }

    fn text(&mut self, number: usize) -> String {
        let entity = self.entity;
        let attributes: Vec<usize> = (0..entity.attributes.len()).collect();
        let names =
            |prefix: &str| attributes.iter().fold(String::new(), |all, a| format!("{all}, {prefix}{a}"));
        let format = format!("<{}", "d".repeat(MEMBER_HEAD + attributes.len()));
        let bounds: Vec<String> = entity.windows.iter().map(|window| window.window_ms.to_string()).collect();
        let mut text = format!(
            "local function entity{number}(key, member)
               local at, id, minor, currency, lat, lon{own} = unpack_member('{format}', member)
               local attempts = key .. ':a'
               local count, n, sum, squares, least, most = 1, 1, minor, minor * minor, minor, minor
               local bounds, stage, stages = {{{bounds}}}, 1, {stages}
               local last_ms, travel_km, travel_ms\n",
            own = names("own"),
            bounds = bounds.join(", "),
            stages = bounds.len(),
        );
        for a in &attributes {
            let _ = writeln!(text, "local d{a}, seen{a} = 0, {{}}");
            let _ = writeln!(text, "if own{a} ~= 0 then d{a} = 1 seen{a}[own{a}] = true end");
        }
        for read in &entity.since {
            let output = read.output;
            let _ = match read.measure {
                SinceMeasure::SessionCount { .. } | SinceMeasure::SessionSeconds { .. } => {
                    writeln!(text, "local over{output}, began{output}, session{output} = false, at, 1")
                }
                SinceMeasure::SmallBeforeLarge { .. } => writeln!(text, "local small{output} = 0"),
                _ => Ok(()),
            };
        }
        text.push_str(&self.close());
        let looks_further = if entity.is_located { "(travel_km or lat ~= lat)" } else { "true" };
        let _ = writeln!(
            text,
            "for _, held in ipairs(redis.call('ZREVRANGEBYSCORE', attempts, at, at - {span})) do
               local held_at, _, held_minor, held_currency, held_lat, held_lon{held} = unpack_member('{format}', held)
               local age = at - held_at
               while stage <= stages and age >= bounds[stage] do close() end
               {since}
               if stage > stages then
                 if {looks_further} then break end
               else
                 count = count + 1
                 if held_currency == currency then
                   n, sum, squares = n + 1, sum + held_minor, squares + held_minor * held_minor
                   if held_minor < least then least = held_minor end
                   if held_minor > most then most = held_minor end
                 end
                 {distinct}
               end
             end
             while stage <= stages do close() end",
            span = entity.span_ms(),
            held = names("held"),
            since = self.since_scan(),
            distinct = self.distinct_scan(),
        );
        text.push_str(&self.since());
        text.push_str(&self.counts());
        text.push_str(&add_attempt(entity, "attempts", "member"));
        let _ = writeln!(text, "end\nentity{number}(KEYS[{number}], ARGV[{number}])");
        text
    }

    /// Writes the numbers of the window that ends here.
    fn close(&mut self) -> String {
        let mut text = String::from("local function close()\n");
        let entity = self.entity;
        for (position, window) in entity.windows.iter().enumerate() {
            let word = if position == 0 { "if" } else { "elseif" };
            let _ = writeln!(text, "{word} stage == {} then", position + 1);
            for &(measure, output) in &window.reads {
                let place = self.place(output);
                let number = match measure {
                    Measure::Count => "count".to_owned(),
                    Measure::Sum => format!("sum / {MINOR_PER_MAJOR}"),
                    Measure::Mean => format!("sum / (n * {MINOR_PER_MAJOR})"),
                    Measure::Stddev => format!("sqrt(n * squares - sum * sum) / (n * {MINOR_PER_MAJOR})"),
                    Measure::Min => format!("least / {MINOR_PER_MAJOR}"),
                    Measure::Max => format!("most / {MINOR_PER_MAJOR}"),
                    Measure::Distinct { attribute } => format!("d{attribute}"),
                    Measure::ZScore => {
                        let _ = writeln!(
                            text,
                            "out[{place}] = NAN
                             do
                               local n, sum, squares = n - 1, sum - minor, squares - minor * minor
                               local variance = n * squares - sum * sum
                               if n >= 2 and variance > 0 then
                                 out[{place}] = (n * minor - sum) / sqrt(variance)
                               end
                             end"
                        );
                        continue;
                    }
                    other => panic!("{other:?} is not over attempts"),
                };
                let _ = writeln!(text, "out[{place}] = {number}");
            }
        }
        text.push_str("end\nstage = stage + 1\nend\n");
        text
    }

    fn since_scan(&self) -> String {
        let entity = self.entity;
        let ttl_ms = entity.ttl_ms;
        let mut text = String::new();
        if !entity.since.is_empty() {
            let _ = writeln!(text, "if not last_ms and age <= {ttl_ms} then last_ms = age end");
        }
        for read in &entity.since {
            let output = read.output;
            let _ = match read.measure {
                SinceMeasure::SessionCount { gap } | SinceMeasure::SessionSeconds { gap } => writeln!(
                    text,
                    "if not over{output} then
                       if began{output} - held_at > {} then over{output} = true
                       else began{output}, session{output} = held_at, session{output} + 1 end
                     end",
                    millis(gap)
                ),
                SinceMeasure::SmallBeforeLarge { window, small, .. } => writeln!(
                    text,
                    "if age < {} and held_currency == currency and held_minor <= {} then
                       small{output} = small{output} + 1
                     end",
                    millis(window),
                    small.minor(euro())
                ),
                _ => Ok(()),
            };
        }
        if entity.is_located {
            let _ = writeln!(
                text,
                "if not travel_km and lat == lat and held_lat == held_lat and age <= {ttl_ms} then
                   travel_km, travel_ms = distance_km(held_lat, held_lon, lat, lon), age
                 end"
            );
        }
        text
    }

    fn distinct_scan(&self) -> String {
        let attributes = self.entity.attributes.iter().enumerate();
        attributes.fold(String::new(), |mut text, (a, windows)| {
            let _ = writeln!(
                text,
                "if stage <= {windows} and held{a} ~= 0 and not seen{a}[held{a}] then
                   seen{a}[held{a}] = true
                   d{a} = d{a} + 1
                 end"
            );
            text
        })
    }

    fn since(&mut self) -> String {
        let mut text = String::new();
        for &read in &self.entity.since {
            let number = match read.measure {
                SinceMeasure::SecondsSinceLast => "last_ms and last_ms / 1000 or NAN".to_owned(),
                SinceMeasure::SecondsSinceFirst => {
                    text.push_str(
                        "local first_at = redis.call('ZRANGE', attempts, 0, 0)[1]
                         first_at = first_at and unpack_member('<d', first_at) or at\n",
                    );
                    "(at - math.min(first_at, at)) / 1000".to_owned()
                }
                SinceMeasure::SpeedKmh => {
                    "travel_km and travel_km * 3600000 / math.max(travel_ms, 1000) or NAN".to_owned()
                }
                SinceMeasure::DistanceKm => "travel_km or NAN".to_owned(),
                SinceMeasure::SessionCount { .. } => format!("session{}", read.output),
                SinceMeasure::SessionSeconds { .. } => format!("(at - began{}) / 1000", read.output),
                SinceMeasure::SmallBeforeLarge { large, .. } => {
                    format!("minor >= {} and small{} or 0", large.minor(euro()), read.output)
                }
            };
            let _ = writeln!(text, "out[{}] = {number}", self.place(read.output));
        }
        text
    }

    fn counts(&mut self) -> String {
        let mut text = String::new();
        let entity = self.entity;
        let counted = |ending, window_ms| {
            format!("redis.call('ZCOUNT', key .. '{ending}', '(' .. (at - {window_ms}), at)")
        };
        let all = [(":y", &entity.approved), (":n", &entity.declined), (":f", &entity.fraud_counts)];
        for (ending, reads) in all {
            for &CountRead { window_ms, output } in reads {
                let _ = writeln!(text, "out[{}] = {}", self.place(output), counted(ending, window_ms));
            }
        }
        for &CountRead { window_ms, output } in &entity.fraud_rates {
            let place = self.place(output);
            let _ = writeln!(
                text,
                "do
                   local labels = {}
                   out[{place}] = labels > 0 and {} / labels or NAN
                 end",
                counted(":l", window_ms),
                counted(":f", window_ms),
            );
        }
        text
    }
}
