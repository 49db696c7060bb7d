//! One thing grows, the others are held: time of a whole decision in process.

use std::fs;
use std::path::Path;

use tollgate::engine::policy::Policy;

use crate::scale::catalogue::{fewer, more, whole};
use crate::scale::decider::Ground;
use crate::table::options::Options;
use crate::table::report::{Cell, Section};
use crate::table::turns::spread;

type Failure = Box<dyn std::error::Error>;

const RULES: [usize; 4] = [10, 100, 1_000, 10_000];
const TREES: [usize; 3] = [40, 400, 4_000];
/// A step at which a decision takes more than so many times as long is a knee.
const KNEE: f64 = 2.0;

const RULE_COLUMNS: &[&str] = &["rules", "us", "least", "most", "x step before", "decisions/s a core"];
const TREE_COLUMNS: &[&str] = &["trees", "us", "least", "most", "x step before", "decisions/s a core"];
const FEATURE_COLUMNS: &[&str] = &["features", "us", "least", "most", "x step before", "decisions/s a core"];

/// Ten to ten thousand rules.
pub(crate) fn rules(options: &Options, above_percent: usize) -> Result<Section, Failure> {
    let ground = Ground::prepare()?;
    let sizes = RULES.map(|count| ground.with_rules(count, above_percent).map(|policy| (count, policy)));
    let sizes = sizes.into_iter().collect::<Result<Vec<_>, _>>()?;
    let title = "one decision in process as rules grow; shipped model and catalogue".to_owned();
    let mut section = Section::new("rules", title, RULE_COLUMNS);
    fill(&mut section, options, &ground, &sizes);
    let matches: Vec<String> =
        sizes.iter().map(|(count, policy)| format!("{:.2} of {count}", ground.matches(policy))).collect();
    section.note(format!(
        "Rules of five conditions, with thresholds above {above_percent} % of what payments have; of them match, on average: {}. \
         Rules that are made to be hard: `rules_table`.",
        matches.join(", ")
    ));
    Ok(section)
}

/// Forty to four thousand trees.
pub(crate) fn trees(options: &Options) -> Result<Section, Failure> {
    let ground = Ground::prepare()?;
    let sizes = TREES.map(|count| ground.with_trees(count).map(|policy| (count, policy)));
    let sizes = sizes.into_iter().collect::<Result<Vec<_>, _>>()?;
    let title = "one decision in process as trees grow; shipped rules and catalogue, attributions included"
        .to_owned();
    let mut section = Section::new("trees", title, TREE_COLUMNS);
    fill(&mut section, options, &ground, &sizes);
    let parts: Vec<String> = sizes
        .iter()
        .filter_map(|(count, policy)| {
            let [score, attributions] = ground.score_and_attributions_us(policy, options.turns)?;
            Some(format!("{count} trees {score:.2} and {attributions:.1}"))
        })
        .collect();
    section.note(format!("Of that the score and the attributions, us: {}.", parts.join("; ")));
    section.note(
        "Complete trees of depth 6, 64 leaves each, with thresholds that are values of payments.".to_owned(),
    );
    Ok(section)
}

/// Fewer windows than are shipped, those, and more.
pub(crate) fn features(options: &Options) -> Result<Section, Failure> {
    let ground = Ground::prepare()?;
    let shipped = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/features.yaml"))?;
    let of = |name: &str, text: String| {
        ground.with_catalogue(name, &text).map(|policy| (features_of(&policy), policy))
    };
    let sizes = [
        of("fewer.yaml", fewer(&shipped))?,
        of("whole.yaml", whole(&shipped))?,
        of("twice.yaml", more(&shipped, 1))?,
        of("most.yaml", more(&shipped, usize::MAX))?,
    ];
    let title = "one decision in process as windows grow: fewer, those shipped, and more; no model, no rules"
        .to_owned();
    let mut section = Section::new("features", title, FEATURE_COLUMNS);
    fill(&mut section, options, &ground, &sizes);
    section.note(
        "Of each list of spans the first third, all, twice as many, and with twelve more. Profiles and what is derived from transactions stay; the shipped expressions over single windows are left out.".to_owned(),
    );
    Ok(section)
}

fn features_of(policy: &Policy) -> usize {
    policy.catalogue.types.len()
}

/// Measures the sizes in turns, a row for each.
fn fill(section: &mut Section, options: &Options, ground: &Ground, sizes: &[(usize, Policy)]) {
    let turns = sizes.iter().map(|(size, policy)| ground.turn(&size.to_string(), policy)).collect();
    let times = options.turns.times(turns, 1);
    let mut knees = Vec::new();
    for (place, (size, _)) in sizes.iter().enumerate() {
        let [least, us, most] = spread(times[place].clone());
        let before = place.checked_sub(1).map(|before| {
            let ratios = times[place].iter().zip(&times[before]).map(|(this, before)| this / before);
            spread(ratios.collect())[1]
        });
        if before.is_some_and(|ratio| ratio > KNEE) {
            knees.push(size.to_string());
        }
        section.row([
            Cell::from(*size),
            us.into(),
            least.into(),
            most.into(),
            before.unwrap_or(f64::NAN).into(),
            ((1e6 / us) as u64).into(),
        ]);
    }
    section.note(knee_note(&knees));
    section.note(options.turns.note());
}

/// Where the cost more than doubles.
pub(crate) fn knee_note(knees: &[String]) -> String {
    match knees {
        [] => "Knee: none; no step doubles the cost.".to_owned(),
        [first, ..] => format!("Knee: at {first}, the first step that more than doubles the cost."),
    }
}
