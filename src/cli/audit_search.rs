//! `tollgate audit search`

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;

use crate::cli::audit_filters::FilterArgs;
use crate::cli::interrupt::Interrupt;
use crate::cli::output::say;
use crate::cli::{log_search, progress};
use crate::search::facts::{DecisionFacts, RecordedAmount};
use crate::search::query::PAGE_MAX;
use crate::search::run::{Found, Hit};

/// `tollgate audit search`
#[derive(Args, Debug)]
#[command(
    after_help = "Gives the newest first. Works beside a running service and without one, and only reads.\n\nExamples:\n  tollgate audit search --customer c_7 --from 7d\n  tollgate audit search --outcome BLOCK --rule card-velocity-5m --limit 20\n  tollgate audit search --score-min 0.9 --outcome APPROVE --json | jq .transaction_id\n  tollgate audit show 88123          all that is known of one of them"
)]
pub struct AuditSearchArgs {
    /// Data directory of the service.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// Which decisions.
    #[command(flatten)]
    pub filters: FilterArgs,
    /// At most that many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: u64,
    /// Only records with a lower sequence: the next page.
    #[arg(long, value_name = "SEQUENCE")]
    pub before: Option<u64>,
    /// Print each as JSON, one a line.
    #[arg(long)]
    pub json: bool,
}

/// Searches, a page at a time, and prints each page as it comes.
pub fn run(args: &AuditSearchArgs) -> anyhow::Result<()> {
    let mut query = args.filters.query()?;
    query.before = args.before.unwrap_or(u64::MAX);
    let search = log_search::open(&args.data)?;
    let interrupt = Interrupt::listen();
    let bar = progress::things("search", None);
    let (mut left, mut shown, mut scanned) = (args.limit, 0, 0);
    let (next, unread) = loop {
        query.limit = usize::try_from(left).unwrap_or(PAGE_MAX).min(PAGE_MAX);
        let found = search.searcher.search(&search.stretches, &query, |records| {
            bar.set_position(records);
            if interrupt.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        bar.suspend(|| print(&found.hits, shown == 0, args.json))?;
        shown += found.hits.len() as u64;
        left -= found.hits.len() as u64;
        scanned += found.scanned;
        match found {
            Found { next: Some(next), .. } if left > 0 => query.before = next,
            Found { next, unread, .. } => break (next, unread),
        }
    };
    bar.finish_and_clear();
    if !args.json {
        let more = next.map_or_else(String::new, |next| format!("; for more: --before {next}"));
        let read =
            if scanned > 0 { format!("; {scanned} records were read one by one") } else { String::new() };
        let elsewhere = if next.is_none() { log_search::elsewhere(&args.data) } else { String::new() };
        eprintln!("{shown} found{more}{read}{elsewhere}");
    }
    if unread > 0 {
        eprintln!("{unread} records could not be read, so that nothing finds them but their sequence");
    }
    Ok(())
}

/// The titles of a table, and each decision under them.
fn print(hits: &[Hit], with_titles: bool, json: bool) -> anyhow::Result<()> {
    if with_titles && !json && !hits.is_empty() {
        say!("{}", titles());
    }
    for hit in hits {
        if json { say!("{}", serde_json::to_string(hit)?) } else { say!("{}", line(hit)) }
    }
    Ok(())
}

/// What stands over lines.
pub fn titles() -> String {
    columns(
        ["SEQUENCE", "RECORDED", "OUTCOME", "SCORE", "AMOUNT", "CUSTOMER", "CARD", "MERCHANT", "TRANSACTION"],
        "REASON",
    )
}

/// A decision in one line.
pub fn line(hit: &Hit) -> String {
    let DecisionFacts { decision, score, amount, customer, card, merchant, transaction_id, reason, .. } =
        &hit.decision;
    let or_none = |text: &Option<Box<str>>| text.as_deref().unwrap_or("-").to_owned();
    let score = score.map_or_else(|| "-".to_owned(), |score| format!("{score:.4}"));
    let amount = amount.as_ref().map_or_else(|| "-".to_owned(), amount_in_words);
    columns(
        [
            &hit.sequence.to_string(),
            &hit.recorded_at.to_string(),
            decision.name(),
            &score,
            &amount,
            &or_none(customer),
            &or_none(card),
            &or_none(merchant),
            transaction_id,
        ],
        reason,
    )
}

/// `129.99 EUR`; the minor units as they are where the currency is not known.
pub fn amount_in_words(amount: &RecordedAmount) -> String {
    use crate::domain::money::{Currency, Money};
    let known =
        Currency::parse(&amount.currency).ok().and_then(|it| Money::from_minor(amount.value, it).ok());
    known.map_or_else(|| format!("{} {}", amount.value, amount.currency), |money| money.to_string())
}

fn columns(cells: [&str; 9], last: &str) -> String {
    const WIDTHS: [usize; 9] = [9, 24, 9, 6, 14, 16, 16, 14, 24];
    let mut line = String::new();
    for (number, (cell, width)) in cells.iter().zip(WIDTHS).enumerate() {
        let is_number = matches!(number, 0 | 3 | 4);
        let cell = if is_number { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
        line.push_str(&cell);
        line.push_str("  ");
    }
    line + last
}
