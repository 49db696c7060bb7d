//! Putting policies into the archive, and having them back.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::engine::policy::{BoundModel, Challenger, Policy, PolicyFiles, bind_model, rules_from_files};
use crate::feature::catalogue::Catalogue;
use crate::model::backend::{Backend, HAS_LIBXGBOOST};
use crate::model::manifest::{MANIFEST_FILE, Manifest, Model};
use crate::policy_archive::blobs::{Blobs, digits, write_synced};
use crate::policy_archive::error::{LoadError, StoreError};
use crate::policy_archive::manifest::{
    ArchivedChallenger, ArchivedFile, ArchivedModel, ArchivedPolicy, FORMAT, MANIFEST_BYTES_MAX,
};
use crate::rules::directory::{SourceFile, read_directory};
use crate::rules::set::content_hash;

/// The directory inside the data directory.
pub const POLICIES_DIRECTORY: &str = "policies";
/// The directory of the files in it.
const BLOBS_DIRECTORY: &str = "blobs";

/// How much an archive holds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct ArchiveSize {
    /// Policies.
    pub policies: u64,
    /// Bytes of their files, each counted once.
    pub bytes: u64,
}

/// An archive. One service writes it; anybody may read it meanwhile.
#[derive(Debug)]
pub struct PolicyArchive {
    directory: PathBuf,
    blobs: Blobs,
    policies: AtomicU64,
    bytes: AtomicU64,
}

impl PolicyArchive {
    /// The archive of a data directory. It need not be there.
    pub fn new(data: &Path) -> Self {
        let directory = data.join(POLICIES_DIRECTORY);
        let blobs = Blobs::new(directory.join(BLOBS_DIRECTORY));
        Self { directory, blobs, policies: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    /// The same, made if need be, for the one who writes.
    pub fn create(data: &Path) -> Result<Self, StoreError> {
        let archive = Self::new(data);
        let made = fs::create_dir_all(archive.blobs.directory()).and_then(|()| {
            let mut policies = 0;
            for entry in fs::read_dir(&archive.directory)? {
                policies += u64::from(entry?.path().extension().is_some_and(|it| it == "json"));
            }
            Ok((policies, archive.blobs.bytes()?))
        });
        let (policies, bytes) = made.map_err(|error| archive.unwritable(error))?;
        archive.policies.store(policies, Ordering::Relaxed);
        archive.bytes.store(bytes, Ordering::Relaxed);
        Ok(archive)
    }

    /// How much it holds, as far as this value has seen it grow.
    pub fn size(&self) -> ArchiveSize {
        ArchiveSize {
            policies: self.policies.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// Archives a policy that was just loaded from `files`. What lies there is read again and must be what was loaded. When this
    /// returns, all of it is on stable storage. Blocks.
    pub fn store(&self, policy: &Policy, files: &PolicyFiles) -> Result<(), StoreError> {
        let catalogue = policy.catalogue.text.as_bytes();
        let catalogue = self.put_as(&files.features, catalogue, &policy.versions.features)?;
        let archived = ArchivedPolicy {
            format: FORMAT,
            policy: policy.hash.clone(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            versions: policy.versions.clone(),
            catalogue,
            rules: self.put_rules(policy, &files.rules)?,
            model: policy.model.as_deref().map(|bound| self.put_model(bound)).transpose()?,
            challengers: policy
                .challengers
                .iter()
                .map(|Challenger { name, bound }| {
                    Ok(ArchivedChallenger { name: name.clone(), model: self.put_model(bound)? })
                })
                .collect::<Result<_, StoreError>>()?,
            on_missing: policy.missing,
            backend: policy.model.as_ref().map_or(Backend::default(), |bound| bound.scorer.backend()),
        };
        let text =
            serde_json::to_vec_pretty(&archived).map_err(|error| self.unwritable(io::Error::other(error)))?;
        let path = self.manifest_path(&policy.hash).ok_or_else(|| {
            self.unwritable(io::Error::other(format!("{} is no hash of a policy", policy.hash)))
        })?;
        let is_new = !path.exists();
        let write = || {
            File::open(self.blobs.directory())?.sync_all()?;
            // Another version of the program may have archived it: the first one stays.
            if is_new {
                write_synced(&path, &text)?;
            }
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|error| StoreError::Unwritable { file: path.clone(), error })?;
        self.policies.fetch_add(u64::from(is_new), Ordering::Relaxed);
        Ok(())
    }

    /// The policies that are in it, by hash, in no order.
    pub fn hashes(&self) -> io::Result<Vec<Box<str>>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut hashes = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).map(|stem| format!("sha256:{stem}"));
            hashes.extend(stem.filter(|hash| digits(hash).is_some()).map(Box::from));
        }
        Ok(hashes)
    }

    /// What the archive says of a policy.
    pub fn manifest(&self, hash: &str) -> Result<ArchivedPolicy, LoadError> {
        let path = self.manifest_path(hash).ok_or(LoadError::NotArchived)?;
        let unreadable = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => LoadError::NotArchived,
            _ => LoadError::Unreadable { file: path.clone(), error },
        };
        let damaged = |what: String| LoadError::Damaged { file: path.clone(), what };
        let bytes = fs::metadata(&path).map_err(unreadable)?.len();
        if bytes > MANIFEST_BYTES_MAX {
            return Err(damaged(format!("has {bytes} bytes; at most {MANIFEST_BYTES_MAX} are read")));
        }
        let text = fs::read(&path).map_err(unreadable)?;
        let archived: ArchivedPolicy =
            serde_json::from_slice(&text).map_err(|error| damaged(format!("cannot be read: {error}")))?;
        if archived.format != FORMAT || *archived.policy != *hash {
            return Err(damaged(format!("is of format {} and of {}", archived.format, archived.policy)));
        }
        Ok(archived)
    }

    /// A policy, from the archive alone. Its hash is the one that was asked for.
    pub fn load(&self, hash: &str) -> Result<Policy, LoadError> {
        let archived = self.manifest(hash)?;
        if archived.backend == Backend::Xgboost && !HAS_LIBXGBOOST {
            return Err(LoadError::NeedsLibxgboost);
        }
        let program = archived.program;
        let refused = |mistakes: Vec<String>| LoadError::Refused { program: program.clone(), mistakes };
        let catalogue = self.blobs.text(&archived.catalogue)?;
        let catalogue = Catalogue::compile(Path::new(&archived.catalogue.name), &catalogue)
            .map_err(|errors| refused(errors.iter().map(ToString::to_string).collect()))?;
        let mut rules = Vec::with_capacity(archived.rules.len());
        for file in &archived.rules {
            rules.push(SourceFile { name: file.name.clone(), text: self.blobs.text(file)? });
        }
        let rules = rules_from_files(&rules, &catalogue)
            .map_err(|problems| refused(problems.iter().map(ToString::to_string).collect()))?;
        let bound = |model: &ArchivedModel, backend| -> Result<BoundModel, LoadError> {
            let manifest = self.blobs.text(&model.manifest)?;
            let bytes = self.blobs.get(&model.model)?;
            let file = self.blobs.path(&model.model)?;
            let model = Model::from_bytes(Path::new(&model.manifest.name), &manifest, &file, &bytes)
                .map_err(|error| refused(vec![error.to_string()]))?;
            bind_model(model, backend, &catalogue).map_err(&refused)
        };
        let model = archived.model.as_ref().map(|model| bound(model, archived.backend)).transpose()?;
        let challengers = archived.challengers.iter().map(|challenger| {
            let bound = bound(&challenger.model, Backend::default())?;
            Ok(Challenger { name: challenger.name.clone(), bound })
        });
        let challengers = challengers.collect::<Result<_, LoadError>>()?;
        let policy =
            Policy::new(Arc::new(catalogue), model.map(Arc::new), challengers, rules, archived.on_missing);
        if *policy.hash != *hash {
            return Err(LoadError::OtherHash { program, now: policy.hash });
        }
        Ok(policy)
    }

    fn manifest_path(&self, hash: &str) -> Option<PathBuf> {
        digits(hash).map(|digits| self.directory.join(format!("{digits}.json")))
    }

    fn unwritable(&self, error: io::Error) -> StoreError {
        StoreError::Unwritable { file: self.directory.clone(), error }
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<ArchivedFile, StoreError> {
        let (file, is_new) = self.blobs.put(name, bytes)?;
        self.bytes.fetch_add(if is_new { file.bytes } else { 0 }, Ordering::Relaxed);
        Ok(file)
    }

    /// Stores a file whose bytes must have that hash.
    fn put_as(&self, path: &Path, bytes: &[u8], hash: &str) -> Result<ArchivedFile, StoreError> {
        let file = self.put(&path.display().to_string(), bytes)?;
        if *file.sha256 == *hash { Ok(file) } else { Err(StoreError::Changed { file: path.to_owned() }) }
    }

    fn put_rules(&self, policy: &Policy, directory: &Path) -> Result<Vec<ArchivedFile>, StoreError> {
        let changed = || StoreError::Changed { file: directory.to_owned() };
        let mut files = read_directory(directory, &directory.display().to_string()).map_err(|_| changed())?;
        files.sort_by(|a, b| a.name.cmp(&b.name));
        if content_hash(&files.iter().collect::<Vec<_>>()) != policy.rules.hash() {
            return Err(changed());
        }
        files.iter().map(|file| self.put(&file.name, file.text.as_bytes())).collect()
    }

    fn put_model(&self, bound: &BoundModel) -> Result<ArchivedModel, StoreError> {
        let model = &bound.model;
        let path = model.file.with_file_name(MANIFEST_FILE);
        let manifest = read(&path)?;
        // All that it gives to a policy; what else it holds is for people.
        let is_same = serde_json::from_slice::<Manifest>(&manifest).is_ok_and(|read| {
            *read.model_sha256 == *model.sha256
                && read.thresholds == model.thresholds
                && *read.name == *model.name
        });
        if !is_same {
            return Err(StoreError::Changed { file: path });
        }
        let file = self.put_as(&model.file, &read(&model.file)?, &model.sha256)?;
        let name =
            model.file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok(ArchivedModel {
            manifest: self.put(MANIFEST_FILE, &manifest)?,
            model: ArchivedFile { name, ..file },
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    fs::read(path).map_err(|error| StoreError::Unreadable { file: path.to_owned(), error })
}
