//! Who takes part. Each keeps what it needs for all rows, and is asked for one at a time.

use std::path::Path;
use std::rc::Rc;

use tollgate::model::attribution::AttributionScratch;
use tollgate::model::manifest::Model;

use crate::field::c_api::Libxgboost;
use crate::workload::FEATURES;

/// What is computed of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Task {
    Margin,
    Attributions,
}

impl Task {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Margin => "margin",
            Self::Attributions => "attributions",
        }
    }

    /// How many numbers it gives: of the attributions the last one is the bias.
    pub(crate) const fn numbers(self) -> usize {
        match self {
            Self::Margin => 1,
            Self::Attributions => FEATURES + 1,
        }
    }
}

/// Computes the numbers of the row with that number.
type Run<'a> = Box<dyn FnMut(usize, &mut [f32]) + 'a>;

pub(crate) struct Contestant<'a> {
    pub(crate) name: String,
    pub(crate) run: Run<'a>,
}

/// All that this build and `--libxgboost` have; what is served here comes first.
pub(crate) fn contestants<'a>(
    task: Task,
    text: &str,
    rows: &'a [Vec<f32>],
    libxgboost: Option<&Path>,
) -> Result<Vec<Contestant<'a>>, String> {
    // libxgboost is given the same file.
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = directory.path().join("model.json");
    std::fs::write(&file, text).map_err(|error| error.to_string())?;
    let model = Rc::new(Model::load_file(&file).map_err(|error| error.to_string())?);
    let mut all = vec![];
    let mut add = |name: String, run: Run<'a>| all.push(Contestant { name, run });
    let mut portable =
        |name: &str, is_portable: bool| add(name.to_owned(), tollgate(task, &model, rows, is_portable));
    portable("tollgate", false);
    portable("tollgate_portable", true);
    #[cfg(feature = "peers")]
    if task == Task::Margin {
        use hessboost::model::{BoostedModel, ModelFormat};

        let peer = BoostedModel::decode(text, ModelFormat::XgboostJson).map_err(|error| error.to_string())?;
        let run = move |row: usize, output: &mut [f32]| {
            output[0] = peer.predict_margin_row(&rows[row], ..).unwrap_or(f32::NAN);
        };
        add("hessboost".to_owned(), Box::new(run));
    }
    #[cfg(feature = "xgboost")]
    {
        use tollgate::model::libxgboost::LibXgboost;

        let loaded = LibXgboost::load(&model).map_err(|error| error.to_string())?;
        let name = format!("xgboost-rs (libxgboost {}), {}", loaded.version(), by_matrix(task));
        let run = move |row: usize, output: &mut [f32]| {
            let numbers = match task {
                Task::Margin => loaded.margins(&rows[row]),
                Task::Attributions => loaded.contributions(&rows[row]),
            };
            output.copy_from_slice(&numbers.unwrap_or_default());
        };
        add(name, Box::new(run));
    }
    if let Some(path) = libxgboost {
        let library = Rc::new(Libxgboost::load(path, text.as_bytes())?);
        let version = library.version().to_owned();
        if task == Task::Margin {
            let in_place = library.in_place(rows);
            add(format!("libxgboost {version}, in place"), Box::new(in_place));
        }
        let what = by_matrix(task);
        let run = library.by_matrix(rows, task == Task::Attributions);
        add(format!("libxgboost {version}, {what}"), Box::new(run));
    }
    Ok(all)
}

/// What libxgboost calls it.
const fn by_matrix(task: Task) -> &'static str {
    match task {
        Task::Margin => "matrix",
        Task::Attributions => "pred_contribs",
    }
}

fn tollgate<'a>(task: Task, model: &Rc<Model>, rows: &'a [Vec<f32>], is_portable: bool) -> Run<'a> {
    let model = Rc::clone(model);
    let mut scratch = AttributionScratch::default();
    match task {
        Task::Margin => Box::new(move |row, output| {
            let (forest, row) = (&model.forest, &rows[row]);
            let margin = if is_portable { forest.margin_portable(row) } else { forest.margin(row) };
            output[0] = margin.unwrap_or(f32::NAN);
        }),
        Task::Attributions => Box::new(move |row, output| {
            let (attributor, forest, row) = (&model.attributor, &model.forest, &rows[row]);
            let features = &mut output[..FEATURES];
            let done = if is_portable {
                attributor.contributions_portable_into(forest, row, &mut scratch, features)
            } else {
                attributor.contributions_into(forest, row, &mut scratch, features)
            };
            output[FEATURES] = if done.is_ok() { attributor.bias() } else { f32::NAN };
        }),
    }
}
