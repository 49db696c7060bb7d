//! Settings file and flags turned into where a policy lies and what it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};

use crate::cli::args::PolicyArgs;
use crate::config::file::Config;
use crate::engine::policy::{ChallengerFiles, Policy, PolicyFiles};
use crate::ip::knowledge::IpKnowledge;

/// What stands for no model at all.
const NO_MODEL: &str = "none";

/// The settings: of the named file, else of `tollgate.toml` here, else the defaults.
pub fn settings(named: Option<&Path>) -> anyhow::Result<Config> {
    let here = Path::new("tollgate.toml");
    match named {
        Some(file) => Ok(Config::load(file)?),
        None if here.exists() => Ok(Config::load(here)?),
        None => Ok(Config::default()),
    }
}

/// Where the policy lies. A model directory that brings its own `features.yaml`, or lies beside one, is read with it.
pub fn files(args: &PolicyArgs, config: &Config) -> PolicyFiles {
    let model = args.model.clone().unwrap_or_else(|| config.paths.model.clone());
    let beside = |model: &Path| {
        let own = model.join("features.yaml");
        let next_to = model.parent().map(|parent| parent.join("features.yaml"));
        [Some(own), next_to].into_iter().flatten().find(|file| file.exists())
    };
    let features = args
        .features
        .clone()
        .or_else(|| args.model.as_deref().and_then(beside))
        .unwrap_or_else(|| config.paths.features.clone());
    let of_config = config.shadow.challengers.iter();
    let challengers = match &args.challenger[..] {
        [] => {
            of_config.map(|it| ChallengerFiles { name: it.name.clone(), model: it.model.clone() }).collect()
        }
        flags => flags.to_vec(),
    };
    PolicyFiles {
        challengers,
        rules: args.rules.clone().unwrap_or_else(|| config.paths.rules.clone()),
        model: (!matches!(model.to_str(), Some("" | NO_MODEL))).then_some(model),
        features,
        backend: config.model.backend,
    }
}

/// The policy of a command that needs no server.
pub fn load(args: &PolicyArgs) -> anyhow::Result<Policy> {
    let config = settings(args.config.as_deref())?;
    match Policy::load(&files(args, &config), config.on_missing.policy()) {
        Ok(policy) => Ok(policy),
        Err(errors) => bail!("the policy is not sound:\n  {}", errors.join("\n  ")),
    }
}

/// What the local files of the settings know of addresses.
pub fn ip_knowledge(args: &PolicyArgs) -> anyhow::Result<Arc<IpKnowledge>> {
    load_ip(&settings(args.config.as_deref())?).map(Arc::new)
}

/// The same of settings that have been read.
pub fn load_ip(config: &Config) -> anyhow::Result<IpKnowledge> {
    IpKnowledge::load(&config.ip.settings().files).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow!("the files about addresses are not sound:\n  {}", errors.join("\n  "))
    })
}

/// Opens a file, or standard input for `-`.
pub fn open(file: &Path) -> anyhow::Result<Box<dyn std::io::BufRead>> {
    if file == Path::new("-") {
        return Ok(Box::new(std::io::stdin().lock()));
    }
    let opened =
        std::fs::File::open(file).with_context(|| format!("{}: cannot be opened", file.display()))?;
    Ok(Box::new(std::io::BufReader::with_capacity(1 << 20, opened)))
}

/// Makes a file for writing.
pub fn create(file: &PathBuf) -> anyhow::Result<std::io::BufWriter<std::fs::File>> {
    let made = std::fs::File::create(file).with_context(|| format!("{}: cannot be made", file.display()))?;
    Ok(std::io::BufWriter::with_capacity(1 << 20, made))
}

/// The policy of `tollgate features`: as `load`, but where the catalogue is not the shipped one, rules and model that ask for
/// features that it lacks are left out, since the features do not depend on them but through `approved` and `declined`.
pub fn load_for_features(args: &PolicyArgs) -> anyhow::Result<Policy> {
    let config = settings(args.config.as_deref())?;
    let files = files(args, &config);
    let missing = config.on_missing.policy();
    let errors = match Policy::load(&files, missing) {
        Ok(policy) => return Ok(policy),
        Err(errors) => errors,
    };
    if args.features.is_none() || args.rules.is_some() {
        bail!("the policy is not sound:\n  {}", errors.join("\n  "));
    }
    match Policy::features_only(&files.features, missing) {
        Ok(policy) => {
            tracing::warn!(
                "the rules or the model do not fit this catalogue, so every transaction counts as approved; name others with \
                 --rules and --model, and see what does not fit with `tollgate check --features {}`",
                files.features.display()
            );
            Ok(policy)
        }
        Err(errors) => bail!("the catalogue is not sound:\n  {}", errors.join("\n  ")),
    }
}
