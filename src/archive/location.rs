//! Where an archive is: `file:///dir`, a plain path, or `s3://bucket/prefix`.

use std::path::PathBuf;

use crate::archive::error::ArchiveError;
use crate::archive::store::{LocalStore, Store};

/// Opens the store that `url` names. Nothing is read or made yet.
pub fn store(url: &str) -> Result<Box<dyn Store>, ArchiveError> {
    let mistake = |what: &str| ArchiveError::Url { url: url.to_owned(), what: what.to_owned() };
    if let Some(rest) = url.strip_prefix("s3://") {
        return s3(rest, url);
    }
    let path = match url.split_once("://") {
        Some(("file", path)) if path.starts_with('/') => path,
        Some(("file", _)) => return Err(mistake("a file URL has three slashes: file:///var/lib/archive")),
        Some(_) => return Err(mistake("write file:///directory or s3://bucket/prefix")),
        None => url,
    };
    if path.is_empty() {
        return Err(mistake("names no directory"));
    }
    Ok(Box::new(LocalStore::new(PathBuf::from(path))))
}

#[cfg(feature = "s3")]
fn s3(rest: &str, url: &str) -> Result<Box<dyn Store>, ArchiveError> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let store = crate::archive::s3::S3Store::new(bucket, prefix);
    Ok(Box::new(store.map_err(|error| ArchiveError::Url { url: url.to_owned(), what: error.to_string() })?))
}

#[cfg(not(feature = "s3"))]
fn s3(_rest: &str, url: &str) -> Result<Box<dyn Store>, ArchiveError> {
    let what = "this tollgate was built without S3: build it with the cargo feature `s3`".to_owned();
    Err(ArchiveError::Url { url: url.to_owned(), what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_understood_or_refused_with_a_reason() {
        let place = |url| store(url).map(|store| store.place()).map_err(|error| error.to_string());
        assert_eq!(place("file:///var/a").unwrap(), "/var/a");
        assert_eq!(place("data/archive").unwrap(), "data/archive");
        for (url, expected) in [
            ("file://var/a", "three slashes"),
            ("https://a/b", "s3://bucket/prefix"),
            ("", "names no directory"),
        ] {
            let error = place(url).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        #[cfg(not(feature = "s3"))]
        assert!(place("s3://a/b").unwrap_err().contains("cargo feature `s3`"));
        #[cfg(feature = "s3")]
        assert!(place("s3:///b").unwrap_err().contains("bucket"));
    }
}
