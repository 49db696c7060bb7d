//! `tollgate simulate`

use std::io::Write;

use anyhow::{Context, bail};
use serde_json::json;

use crate::cli::args::SimulateArgs;
use crate::cli::interrupt::Interrupt;
use crate::cli::output::say;
use crate::cli::{policy, progress};
use crate::domain::label::Label;
use crate::simulate::labels::LabelQueue;
use crate::simulate::parameters::Parameters;
use crate::simulate::simulation::{Scenario, Simulation};
use crate::wire::label::LabelJson;
use crate::wire::transaction::TransactionJson;

/// Runs it.
pub fn run(args: &SimulateArgs) -> anyhow::Result<()> {
    let parameters = parameters(args)?;
    let simulation = Simulation::new(&parameters)?;
    let mut output = policy::create(&args.output)?;
    let mut labels = args.labels.as_ref().map(policy::create).transpose()?;
    let mut truth = args.truth.as_ref().map(policy::create).transpose()?;
    let interrupt = Interrupt::listen();
    let bar = progress::things("simulate", None);
    let mut waiting = LabelQueue::default();
    let (mut transactions, mut frauds, mut labelled) = (0_u64, 0_u64, 0_u64);
    for simulated in simulation {
        let transaction = &simulated.transaction;
        while let Some(label) = waiting.pop_known(transaction.occurred_at) {
            labelled += write_label(&mut labels, &label)?;
        }
        serde_json::to_writer(&mut output, &TransactionJson(transaction))?;
        output.write_all(b"\n")?;
        if let Some(truth) = &mut truth {
            let label = if simulated.truth.is_some() { "fraud" } else { "legitimate" };
            let line = json!({
                "transaction_id": transaction.id, "occurred_at": transaction.occurred_at.to_string(), "label": label,
                "scenario": simulated.truth.map(Scenario::name),
            });
            writeln!(truth, "{line}")?;
        }
        transactions += 1;
        frauds += u64::from(simulated.truth.is_some());
        if let Some(label) = simulated.label {
            waiting.push(label);
        }
        bar.inc(1);
        if interrupt.is_set() {
            bail!("interrupted after {transactions} transactions; the files end there");
        }
    }
    while let Some(label) = waiting.pop() {
        labelled += write_label(&mut labels, &label)?;
    }
    bar.finish_and_clear();
    for file in [Some(output), labels, truth].into_iter().flatten() {
        file.into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .context("a file could not be written")?;
    }
    if args.json {
        say!(
            "{}",
            json!({"transactions": transactions, "frauds": frauds, "labels": labelled, "parameters": parameters})
        );
    } else {
        say!("{transactions} transactions, {frauds} of them fraud, {labelled} labels");
    }
    Ok(())
}

fn write_label(labels: &mut Option<impl Write>, label: &Label) -> anyhow::Result<u64> {
    if let Some(labels) = labels {
        serde_json::to_writer(&mut *labels, &LabelJson(label))?;
        labels.write_all(b"\n")?;
    }
    Ok(1)
}

fn parameters(args: &SimulateArgs) -> anyhow::Result<Parameters> {
    let mut parameters = match &args.parameters {
        None => Parameters::default(),
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("{}: cannot be read", file.display()))?;
            Parameters::from_yaml(&text).with_context(|| format!("{}", file.display()))?
        }
    };
    if let Some(seed) = args.seed {
        parameters.seed = seed;
    }
    if let Some(customers) = args.customers {
        parameters.customers = customers;
    }
    if let Some(days) = args.days {
        parameters.days = days;
    }
    if let Some(start) = &args.start {
        parameters.start.clone_from(start);
    }
    Ok(parameters)
}
