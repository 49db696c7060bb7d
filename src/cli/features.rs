//! `tollgate features`

use std::ops::ControlFlow;

use anyhow::{Context, bail};

use crate::cli::args::FeaturesArgs;
use crate::cli::backtest::{ROWS_PER_TICK, files, mapping, moment};
use crate::cli::interrupt::Interrupt;
use crate::cli::output::say;
use crate::cli::{policy, progress};
use crate::domain::value::Value;
use crate::evaluation::session::Session;
use crate::offline::backtest::{BacktestOptions, Other, replay};
use crate::offline::output::{Column, ColumnType, FeatureTable};
use crate::offline::transactions::{ReadOptions, TransactionReader};

/// Runs it.
pub fn run(args: &FeaturesArgs) -> anyhow::Result<()> {
    let policy = policy::load_for_features(&args.policy)?;
    let catalogue = &policy.catalogue;
    let mapping = mapping(&args.input.replay)?;
    let options = BacktestOptions {
        files: files(&args.input.input, &args.input.replay, mapping.as_ref()),
        from: moment("--from", args.input.replay.from.as_deref())?,
        to: None,
        limit: args.input.replay.limit,
    };
    let read = ReadOptions { mapping: mapping.as_ref(), skip_bad_rows: args.input.replay.skip_bad_rows };
    let reader = TransactionReader::open(&args.input.input, read)?;
    let id_type = if reader.id_is_integer() { ColumnType::Int64 } else { ColumnType::Text };
    let id = Column { name: reader.id_column().to_owned(), column_type: id_type };
    drop(reader);
    let features = catalogue.features.iter();
    let columns = std::iter::once(id)
        .chain(features.map(|feature| Column {
            name: feature.name.to_string(),
            column_type: ColumnType::of(feature.value_type),
        }))
        .collect();
    let mut table = FeatureTable::create(&args.output, columns)?;

    let session = Session::with_ip(&policy, policy::ip_knowledge(&args.policy)?);
    let interrupt = Interrupt::listen();
    let bar = progress::things("features", None);
    let mut written = Ok(());
    let mut rows = 0_u64;
    let done = replay(&session, Other::Nothing, &options, |decided, replay| {
        rows += 1;
        if decided.is_measured {
            let vector = &decided.judgement.features;
            let values: Vec<Value<'_>> = catalogue
                .types
                .iter()
                .enumerate()
                .map(|(slot, value_type)| vector.get(slot, *value_type))
                .collect();
            written = table.write_row(decided.transaction.id.as_str(), &values);
        }
        if rows.is_multiple_of(ROWS_PER_TICK) {
            progress::tick(&bar, &replay.source().progress());
        }
        if written.is_err() || interrupt.is_set() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    bar.finish_and_clear();
    written.with_context(|| format!("{}", args.output.display()))?;
    let done = done?;
    let rows = table.finish()?;
    let skipped = done.source().bad_rows().count();
    if args.json {
        let result = serde_json::json!({
            "output": args.output, "rows": rows, "features": catalogue.features.len(),
            "features_sha256": catalogue.sha256, "rows_skipped": skipped, "replay": done.counts(),
        });
        say!("{result}");
    } else {
        say!("{rows} rows of {} features in {}", catalogue.features.len(), args.output.display());
        if skipped > 0 {
            say!("{skipped} rows were wrong and left out");
        }
    }
    if interrupt.is_set() {
        bail!("interrupted: the file holds the rows up to then");
    }
    Ok(())
}
