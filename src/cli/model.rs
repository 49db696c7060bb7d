//! `tollgate model`

use std::fs::File;
use std::io::BufReader;

use anyhow::{Context, bail};

use crate::cli::args::{ModelCommand, ModelInspectArgs, ModelScoreArgs};
use crate::cli::output::say;
use crate::cli::{model_report, model_verify, policy};
use crate::model::inspect::summary;
use crate::model::manifest::Model;
use crate::model::score::score_csv;

/// Runs it.
pub fn run(command: &ModelCommand) -> anyhow::Result<()> {
    match command {
        ModelCommand::Inspect(args) => inspect(args),
        ModelCommand::Score(args) => score(args),
        ModelCommand::Verify(args) => model_verify::run(args),
        ModelCommand::Report(args) => model_report::run(args),
    }
}

fn inspect(args: &ModelInspectArgs) -> anyhow::Result<()> {
    let summary = summary(&Model::load_either(&args.model)?);
    if args.json {
        say!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        say!("{summary}");
    }
    Ok(())
}

fn score(args: &ModelScoreArgs) -> anyhow::Result<()> {
    let model = Model::load_either(&args.model)?;
    let input =
        File::open(&args.input).with_context(|| format!("{}: cannot be opened", args.input.display()))?;
    // Creating it empties it.
    if args.output.exists() && args.output.canonicalize().ok() == args.input.canonicalize().ok() {
        bail!("{}: --output is the file of --input; name another one", args.output.display());
    }
    let output = policy::create(&args.output)?;
    let rows = score_csv(&model, BufReader::new(input), output, args.contributions)
        .with_context(|| format!("{}", args.input.display()))?;
    say!("{rows} rows in {}", args.output.display());
    Ok(())
}
