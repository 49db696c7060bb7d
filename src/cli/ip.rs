//! `tollgate ip`

use std::time::Duration;

use anyhow::Context;
use serde_json::{Value as Json, json};

use crate::cli::args::IpArgs;
use crate::cli::output::say;
use crate::cli::policy::{load_ip, settings};
use crate::domain::ip::IpAddress;
use crate::domain::ip_facts::{IP_FIELDS, IpFacts};
use crate::domain::time::{Clock, EventTime, SystemClock};
use crate::domain::value::Value;
use crate::ip::knowledge::{IpKnowledge, Said, SaidWhat};

/// Runs it.
pub fn run(args: &IpArgs) -> anyhow::Result<()> {
    let config = settings(args.config.as_deref())?;
    let address = IpAddress::parse(&args.address)
        .with_context(|| format!("{:?} is no address such as 198.51.100.7 or 2001:db8::1", args.address))?;
    let knowledge = load_ip(&config)?;
    let facts = knowledge.look_up(&address);
    let sayings = knowledge.sayings(&address);
    if args.json {
        let sayings: Vec<Json> = sayings.iter().map(said_json).collect();
        say!("{:#}", json!({"address": address.as_str(), "names": names(&facts), "files": sayings}));
        return Ok(());
    }
    say!("{}", address.as_str());
    for (field, name, _) in IP_FIELDS {
        say!("  {name:<15} {}", field.of(&facts));
    }
    for said in &sayings {
        say!("  {}", said_text(said));
    }
    match () {
        () if knowledge.is_empty() => {
            say!("No file is named in [ip] of the settings: only the kind of an address is known.");
        }
        () if sayings.is_empty() && facts.kind.is_reserved() => {
            say!(
                "It is of a block that is kept for something else, so no file is asked but lists with reserved = true."
            );
        }
        () if sayings.is_empty() => say!("None of the files knows it."),
        () => {}
    }
    say_age(&knowledge, config.ip.settings().database_age_max);
    Ok(())
}

/// What rules would read; what is missing is null.
fn names(facts: &IpFacts) -> serde_json::Map<String, Json> {
    let json = |value: Value<'_>| match value {
        Value::Missing => Json::Null,
        Value::Bool(flag) => json!(flag),
        Value::Int(number) => json!(number),
        Value::Double(number) => json!(number),
        Value::Text(text) => json!(text),
        Value::Time(time) => json!(time.to_string()),
    };
    IP_FIELDS.iter().map(|(field, name, _)| ((*name).to_owned(), json(field.of(facts)))).collect()
}

fn said_json(said: &Said<'_>) -> Json {
    match &said.what {
        SaidWhat::Located { located, network } => json!({
            "file": said.file, "network": network, "asn": located.asn, "as_org": located.as_org,
            "country": located.country.as_ref().map(|code| code.as_str()),
        }),
        SaidWhat::Listed { list } => json!({
            "file": said.file, "list": list.name, "category": list.category, "weight": list.weight,
        }),
    }
}

fn said_text(said: &Said<'_>) -> String {
    let file = said.file.display();
    match &said.what {
        SaidWhat::Located { located, network } => {
            let country = located.country.map(|code| format!("country {code}"));
            let asn = located.asn.map(|asn| format!("AS{asn} {}", located.as_org.unwrap_or_default()));
            let what: Vec<String> = [country, asn].into_iter().flatten().collect();
            let network = network.as_deref().unwrap_or("the address");
            format!("{file}: {network}: {}", what.join(", ").trim_end())
        }
        SaidWhat::Listed { list } => {
            format!("{file}: on the list {} ({}, weight {})", list.name, list.category.name(), list.weight)
        }
    }
}

/// Warns of old databases: what they say may be of the past.
fn say_age(knowledge: &IpKnowledge, age_max: Duration) {
    let now_s = SystemClock.now().unix_millis() / 1_000;
    for database in knowledge.databases() {
        let built_at_s = i64::try_from(database.built_at_s()).unwrap_or(i64::MAX);
        let age_s = u64::try_from(now_s.saturating_sub(built_at_s)).unwrap_or(0);
        if age_s > age_max.as_secs() {
            let built_at = EventTime::from_unix_millis(built_at_s.saturating_mul(1_000));
            let built_at = built_at.map_or_else(|_| built_at_s.to_string(), |at| at.to_string());
            eprintln!("{}: is old: made at {built_at}, {} days ago", database.file.display(), age_s / 86_400);
        }
    }
}
