//! `tollgate model verify`

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, bail};
use indicatif::ProgressBar;

use crate::cli::args::ModelVerifyArgs;
use crate::cli::interrupt::Interrupt;
use crate::cli::output::say;
use crate::cli::progress;
use crate::domain::hash::sha256;
use crate::model::drawn_rows::DrawnRows;
use crate::model::manifest::{MANIFEST_FILE, Model};
use crate::model::parity_field;
use crate::model::row_reader::RowReader;
use crate::model::verify::Verifier;

/// After how many rows the bar moves.
const ROWS_PER_TICK: u64 = 1_024;

/// Runs it.
pub fn run(args: &ModelVerifyArgs) -> anyhow::Result<()> {
    if args.write && !args.model.is_dir() {
        bail!(
            "{}: is not a model directory; --write needs one, with a {MANIFEST_FILE}",
            args.model.display()
        );
    }
    let interrupt = Interrupt::listen();
    let model = Model::load_either(&args.model)?;
    let mut verifier = verifier(&model)?;
    let bar = progress::things("verifying", args.input.is_none().then_some(args.rows));
    let rows_from = match &args.input {
        Some(file) => {
            add_rows_of(file, &model, &mut verifier, &bar, &interrupt)?;
            format!("of a file {}", sha256_of(file)?)
        }
        None => {
            add_drawn(args, &model, &mut verifier, &bar, &interrupt)?;
            format!("drawn with seed {}", args.seed)
        }
    };
    let certificate = verifier.finish(rows_from)?;
    bar.finish_and_clear();
    if args.json {
        say!("{}", serde_json::to_string_pretty(&certificate)?);
    } else {
        say!("{}", certificate.to_string().trim_end());
    }
    if certificate.rows == 0 {
        bail!("no row was compared; give rows with --input, or leave it out to draw some");
    }
    if !certificate.holds {
        let written = if args.write { "; the certificate was not written" } else { "" };
        bail!(
            "{}: its scores differ between two ways to compute them{written}. Do not serve it; please report the model's file and \
             what was printed above",
            model.file.display()
        );
    }
    if args.write {
        let manifest = args.model.join(MANIFEST_FILE);
        parity_field::write(&manifest, &certificate)?;
        eprintln!("written as parity into {}", manifest.display());
    }
    Ok(())
}

#[cfg(feature = "xgboost")]
fn verifier(model: &Model) -> anyhow::Result<Verifier<'_>> {
    use crate::model::backend::BackendError;
    use crate::model::libxgboost::LibXgboost;

    match LibXgboost::load(model) {
        Ok(loaded) => Ok(Verifier::new(model).with_libxgboost(loaded)),
        Err(BackendError::Unsupported { file, what }) => {
            eprintln!("{}: {what}; it is not compared with libxgboost", file.display());
            Ok(Verifier::new(model))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(feature = "xgboost"))]
#[expect(clippy::unnecessary_wraps, reason = "other builds can fail here")]
fn verifier(model: &Model) -> anyhow::Result<Verifier<'_>> {
    Ok(Verifier::new(model))
}

fn add_drawn(
    args: &ModelVerifyArgs,
    model: &Model,
    verifier: &mut Verifier<'_>,
    bar: &ProgressBar,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let mut drawn = DrawnRows::new(&model.forest, args.seed);
    let mut row = vec![0.0; model.feature_names.len()];
    for number in 0..args.rows {
        drawn.fill(&mut row);
        verifier.add(&row)?;
        tick(number + 1, bar, interrupt)?;
    }
    Ok(())
}

fn add_rows_of(
    file: &Path,
    model: &Model,
    verifier: &mut Verifier<'_>,
    bar: &ProgressBar,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let input = File::open(file).with_context(|| format!("{}: cannot be opened", file.display()))?;
    // It is read a second time, for the hash in the certificate.
    if !input.metadata().is_ok_and(|metadata| metadata.is_file()) {
        bail!("{}: is no file, and --input is read twice; write the rows into one", file.display());
    }
    let of_file = || file.display().to_string();
    let mut reader = RowReader::new(model, BufReader::new(input)).with_context(of_file)?;
    let mut row = vec![0.0; model.feature_names.len()];
    while reader.next_into(&mut row).with_context(of_file)? {
        verifier.add(&row)?;
        tick(reader.rows(), bar, interrupt)?;
    }
    Ok(())
}

fn tick(rows: u64, bar: &ProgressBar, interrupt: &Interrupt) -> anyhow::Result<()> {
    if rows.is_multiple_of(ROWS_PER_TICK) {
        bar.set_position(rows);
        if interrupt.is_set() {
            bail!("interrupted after {rows} rows; nothing was written");
        }
    }
    Ok(())
}

/// Says which rows they were, wherever the file lies.
fn sha256_of(file: &Path) -> anyhow::Result<Box<str>> {
    let bytes = std::fs::read(file).with_context(|| format!("{}: cannot be read", file.display()))?;
    Ok(sha256(&bytes))
}
