//! An S3-compatible store. Region, endpoint and credentials come from the environment (`AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID` …,
//! `AWS_ALLOW_HTTP`) or from the machine's role, as `object_store` reads them.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as ObjectPath;
use object_store::{ClientOptions, Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig};
use tokio::runtime::Runtime;

use crate::archive::store::{LISTED_MAX, SMALL_BYTES_MAX, Store};

/// A file is sent in parts of this size; a smaller one at once. S3 takes parts from 5 MiB on, and 10,000 of them.
const PART_BYTES: usize = 16 * 1024 * 1024;
/// Longest wait for one request with its answer, which may be a whole file.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a request that fails is repeated. The run fails then, and is repeated itself.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// A bucket, and the prefix of everything in it that is ours.
#[derive(Debug)]
pub struct S3Store {
    bucket: String,
    prefix: String,
    client: AmazonS3,
    runtime: Runtime,
}

impl S3Store {
    /// Nothing is asked yet.
    pub fn new(bucket: &str, prefix: &str) -> io::Result<Self> {
        if bucket.is_empty() {
            return Err(io::Error::other("names no bucket: write s3://bucket/prefix"));
        }
        // Another part of the program may have chosen it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_client_options(client_options())
            .with_retry(RetryConfig { retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() })
            .build()
            .map_err(io::Error::other)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("archive-s3")
            .enable_all()
            .build()?;
        let prefix = prefix.trim_matches('/').to_owned();
        Ok(Self { bucket: bucket.to_owned(), prefix, client, runtime })
    }

    fn path(&self, path: &str) -> ObjectPath {
        ObjectPath::from(format!("{}/{path}", self.prefix))
    }
}

/// `AWS_ALLOW_HTTP` is one of the client's own options, which replace those of the environment.
fn client_options() -> ClientOptions {
    let allows_http = std::env::var("AWS_ALLOW_HTTP").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
    ClientOptions::new().with_timeout(REQUEST_TIMEOUT).with_allow_http(allows_http)
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::NotFound { .. } => io::Error::new(io::ErrorKind::NotFound, error),
        error => io::Error::other(error),
    }
}

/// Fills the buffer, as far as the file goes.
fn read_part(file: &mut File) -> io::Result<Vec<u8>> {
    let mut part = Vec::with_capacity(PART_BYTES);
    file.take(PART_BYTES as u64).read_to_end(&mut part)?;
    Ok(part)
}

impl Store for S3Store {
    fn place(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }

    fn put_file(&self, path: &str, file: &Path) -> io::Result<()> {
        let mut file = File::open(file)?;
        let path = self.path(path);
        self.runtime.block_on(async {
            let first = read_part(&mut file)?;
            if first.len() < PART_BYTES {
                return self.client.put(&path, first.into()).await.map(drop).map_err(io_error);
            }
            let mut upload = self.client.put_multipart(&path).await.map_err(io_error)?;
            let mut part = first;
            let sent = loop {
                if part.is_empty() {
                    break Ok(());
                }
                if let Err(error) = upload.put_part(part.into()).await {
                    break Err(io_error(error));
                }
                match read_part(&mut file) {
                    Ok(next) => part = next,
                    Err(error) => break Err(error),
                }
            };
            match sent {
                Ok(()) => upload.complete().await.map(drop).map_err(io_error),
                Err(error) => {
                    // What is left of it the bucket's own rules remove; the error that counts is the first one.
                    let _ = upload.abort().await;
                    Err(error)
                }
            }
        })
    }

    fn put(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let payload = PutPayload::from(bytes.to_vec());
        self.runtime.block_on(self.client.put(&self.path(path), payload)).map(drop).map_err(io_error)
    }

    fn put_new(&self, path: &str, bytes: &[u8]) -> io::Result<bool> {
        let payload = PutPayload::from(bytes.to_vec());
        let path = self.path(path);
        match self.runtime.block_on(self.client.put_opts(&path, payload, PutMode::Create.into())) {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(io_error(error)),
        }
    }

    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let path = self.path(path);
        self.runtime.block_on(async {
            match self.client.get(&path).await {
                Ok(found) if found.meta.size > SMALL_BYTES_MAX => Err(io::Error::other(format!(
                    "it has {} bytes; {SMALL_BYTES_MAX} are read",
                    found.meta.size
                ))),
                Ok(found) => Ok(Some(found.bytes().await.map_err(io_error)?.to_vec())),
                Err(Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(io_error(error)),
            }
        })
    }

    fn open(&self, path: &str, scratch: &Path) -> io::Result<File> {
        let local =
            scratch.join(format!("tollgate-{}-{:x}.fetched", std::process::id(), rand::random::<u64>()));
        let mut file = File::options().read(true).write(true).create_new(true).open(&local)?;
        // Without a name from here on, so that nothing of it stays, however this ends.
        fs::remove_file(&local)?;
        let path = self.path(path);
        self.runtime.block_on(async {
            let mut chunks = self.client.get(&path).await.map_err(io_error)?.into_stream();
            while let Some(chunk) = chunks.next().await {
                file.write_all(&chunk.map_err(io_error)?)?;
            }
            io::Result::Ok(())
        })?;
        file.seek(SeekFrom::Start(0))?;
        Ok(file)
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let prefix = self.path(directory);
        let listed =
            self.runtime.block_on(self.client.list_with_delimiter(Some(&prefix))).map_err(io_error)?;
        if listed.objects.len() > LISTED_MAX {
            return Err(io::Error::other(format!("{directory} has more than {LISTED_MAX} objects")));
        }
        Ok(listed.objects.iter().filter_map(|it| it.location.filename().map(str::to_owned)).collect())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        match self.runtime.block_on(self.client.delete(&self.path(path))) {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(io_error(error)),
        }
    }
}
