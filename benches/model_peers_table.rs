//! The shipped model beside other evaluators of it, in one table: libxgboost, tl2cgen, ONNX Runtime and hessboost, one payment at a time.
//!
//! `benches/peers/models.sh` installs what the others need and runs this; `--help` lists the options. Contestants take turns in each of
//! at least seven rounds, a different one first each time; a ratio is taken within a round. All are asked through their C API, or are
//! Rust; none is asked through Python.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tollgate::domain::transaction::Mode;
use tollgate::engine::policy::{Policy, PolicyFiles};
use tollgate::engine::settings::{MissingPolicy, OnMissing};
use tollgate::evaluation::session::Session;
use tollgate::model::backend::Backend;
use tollgate::model::manifest::Model;
use tollgate::simulate::parameters::Parameters;
use tollgate::simulate::simulation::Simulation;

use crate::c_api::Libxgboost;
use crate::table::options::Options;
use crate::table::report::Section;
use crate::table::turns::{Turn, print, spread};

#[allow(dead_code, reason = "contributions are another bench's")]
#[path = "model_table/c_api.rs"]
mod c_api;
#[path = "model_peers/mod.rs"]
mod peers;
#[allow(dead_code, reason = "the other tables use the rest")]
#[path = "table/mod.rs"]
mod table;

const HELP: &str = "\
The shipped model beside other evaluators. `benches/peers/models.sh` makes and installs what they need and names it here.

  --made DIRECTORY     what benches/peers/models.py made: tl2cgen.so, tl2cgen_quantized.so, model.onnx
  --libxgboost PATH    the file libxgboost.so, of version 2 or later
  --onnxruntime PATH   the file libonnxruntime.so.VERSION
  --rounds N           rounds in which each is measured once, at least 7 [7]
  --pass-ms N          length of one pass, in milliseconds [100]
  --json, --markdown   in place of the table for people

The feature peers adds hessboost.";

/// Payments that fill the windows before rows are taken, and the rows.
const WARM_UP: usize = 30_000;
const ROWS: usize = 512;

const COLUMNS: &[&str] = &[
    "contestant",
    "us a row",
    "least",
    "most",
    "x tollgate",
    "x least",
    "x most",
    "largest difference",
    "what it is",
];

/// Name, what it is, and the margin of the row with that number.
type Contestant<'a> = (String, &'static str, Box<dyn FnMut(usize) -> f32 + 'a>);

fn main() -> Result<(), String> {
    let options = match Options::parse(HELP, &["--made", "--libxgboost", "--onnxruntime"]) {
        Ok(options) => options,
        Err(said) => {
            println!("{said}");
            return Ok(());
        }
    };
    let policy = policy();
    let rows = rows(&policy);
    let model = &policy.model.as_ref().unwrap().model;
    let mut all = contestants(model, &rows, &options)?;
    let expected: Vec<f32> = (0..rows.len()).map(|row| (all[0].2)(row)).collect();
    let differences: Vec<f64> = all.iter_mut().map(|it| difference(&mut it.2, &expected)).collect();
    let (about, turns): (Vec<_>, Vec<Turn<'_>>) = all
        .into_iter()
        .map(|(name, what, mut margin)| {
            let run: Box<dyn FnMut(usize)> = Box::new(move |row| {
                black_box(margin(row));
            });
            (what, (name, run))
        })
        .unzip();
    let names: Vec<String> = turns.iter().map(|(name, _)| name.clone()).collect();
    let times = options.turns.times(turns, rows.len());
    let title = format!(
        "microseconds a row, models/default ({} trees, {} features), rows of simulated payments, one at a time",
        model.forest.trees().count(),
        model.feature_names.len()
    );
    let mut section = Section::new("shipped_model", title, COLUMNS);
    for (((name, what), of_one), difference) in names.iter().zip(about).zip(&times).zip(differences) {
        let ratio = spread(of_one.iter().zip(&times[0]).map(|(one, tollgate)| one / tollgate).collect());
        let time = spread(of_one.clone());
        section.row([
            name.as_str().into(),
            time[1].into(),
            time[0].into(),
            time[2].into(),
            ratio[1].into(),
            ratio[0].into(),
            ratio[2].into(),
            format!("{difference:.1e}").as_str().into(),
            what.into(),
        ]);
    }
    section.note(options.turns.note());
    section.note(format!(
        "Largest difference of a margin (log-odds) to Tollgate's, over {} rows with margins from {:.1} to {:.1}.",
        rows.len(),
        expected.iter().copied().fold(f32::INFINITY, f32::min),
        expected.iter().copied().fold(f32::NEG_INFINITY, f32::max),
    ));
    print(&[section], options.format);
    Ok(())
}

fn policy() -> Policy {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = PolicyFiles {
        rules: root.join("rules"),
        model: Some(root.join("models/default")),
        backend: Backend::default(),
        challengers: Vec::new(),
        features: root.join("models/features.yaml"),
    };
    let missing = MissingPolicy {
        enrich: OnMissing::Continue,
        model: OnMissing::Review,
        overload: OnMissing::Continue,
    };
    Policy::load(&files, missing).unwrap()
}

/// The model's rows of payments whose windows hold a history.
fn rows(policy: &Policy) -> Vec<Vec<f32>> {
    let parameters = Parameters { customers: 2_000, days: 60, ..Parameters::default() };
    let session = Session::new(policy);
    let binding = &policy.model.as_ref().unwrap().binding;
    Simulation::new(&parameters)
        .unwrap()
        .take(WARM_UP + ROWS)
        .map(|simulated| session.decide(&simulated.transaction, Mode::Live).features)
        .skip(WARM_UP)
        .map(|features| binding.row(features.numbers()))
        .collect()
}

fn contestants<'a>(
    model: &'a Model,
    rows: &'a [Vec<f32>],
    options: &Options,
) -> Result<Vec<Contestant<'a>>, String> {
    let path = |name: &str| options.own.get(name).map(PathBuf::from);
    let mut all: Vec<Contestant<'a>> = Vec::new();
    let mut add = |name: &str, what, run| all.push((name.to_owned(), what, run));
    let forest = &model.forest;
    add("tollgate", "what is served on this processor", Box::new(|row| forest.margin(&rows[row]).unwrap()));
    let run = Box::new(|row: usize| forest.margin_portable(&rows[row]).unwrap());
    add("tollgate_portable", "what is served where there is no AVX-512 with VBMI", run);
    #[cfg(feature = "peers")]
    {
        use hessboost::model::{BoostedModel, ModelFormat};

        let text = std::fs::read_to_string(&model.file).map_err(|error| error.to_string())?;
        let peer =
            BoostedModel::decode(&text, ModelFormat::XgboostJson).map_err(|error| error.to_string())?;
        let run = Box::new(move |row: usize| peer.predict_margin_row(&rows[row], ..).unwrap());
        add("hessboost", "the Rust crate, its own reader of XGBoost's files", run);
    }
    if let Some(library) = path("--libxgboost") {
        let text = std::fs::read(&model.file).map_err(|error| error.to_string())?;
        let library = Rc::new(Libxgboost::load(&library, &text)?);
        let mut in_place = library.in_place(rows);
        let run = Box::new(move |row: usize| {
            let mut margin = [f32::NAN];
            in_place(row, &mut margin);
            margin[0]
        });
        let name = format!("libxgboost {}", library.version());
        add(&name, "XGBoosterPredictFromDense with a proxy matrix, one thread", run);
    }
    if let Some(made) = path("--made") {
        let run = peers::tl2cgen::margins(&made.join("tl2cgen.so"), rows)?;
        add("tl2cgen", "the model as C, gcc -O3 -march=native", Box::new(run));
        let run = peers::tl2cgen::margins(&made.join("tl2cgen_quantized.so"), rows)?;
        add("tl2cgen, quantized", "the same with thresholds as whole numbers", Box::new(run));
        if let Some(library) = path("--onnxruntime") {
            let (version, run) = peers::onnxruntime::margins(&library, &made.join("model.onnx"), rows)?;
            let what = "TreeEnsembleRegressor by the C API, one thread, tensors made beforehand";
            add(&format!("onnxruntime {version}"), what, Box::new(run));
        }
    }
    Ok(all)
}

/// How far the margins are apart at most.
fn difference(margin: &mut dyn FnMut(usize) -> f32, expected: &[f32]) -> f64 {
    let apart = |(row, expected): (usize, &f32)| f64::from(margin(row) - expected).abs();
    let apart = expected.iter().enumerate().map(apart).fold(0.0, f64::max);
    // Another rounding of sums; a wrong branch is off by more.
    assert!(apart < 1e-3, "a margin is {apart} apart: that is another model");
    apart
}
