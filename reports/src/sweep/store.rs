//! A sweep in an object store that speaks S3.
//!
//! Its parts are fetched into a temporary directory, and scanned there like those of any other. Where the store is, in
//! which region, and who asks is in the environment, as for AWS's own tools.

#![allow(
    clippy::disallowed_methods,
    reason = "a report fetches parts to the real disk; it never runs in the simulator"
)]

use std::{env, fs::File, io::Write, path::Path, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use reqwest::{Client, Response, StatusCode, Url};
use rusty_s3::{Bucket, BucketError, Credentials, S3Action, UrlStyle, actions::ListObjectsV2};
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};

/// What addresses begin with.
const SCHEME: &str = "s3://";
/// Where the store is, in order of precedence; AWS itself if none is set.
const ENDPOINT: [&str; 2] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
/// The store's region, in order of precedence.
const REGION: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
const DEFAULT_REGION: &str = "us-east-1";
/// For how long the store takes a signed request.
const SIGNED_FOR: Duration = Duration::from_secs(600);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For how long the store may say nothing.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a request is made that the store may answer the next time.
const TRIES: u32 = 4;
/// How long it waits for the second; twice as long each time after.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Parts fetched at the same time.
const AT_ONCE: usize = 8;

/// Why a sweep cannot be read from an object store.
#[derive(Debug, Error)]
pub enum StoreError {
    /// An address of something else.
    #[error("{0:?} is no address of a sweep: use a directory, or s3://BUCKET/PREFIX")]
    Address(String),
    /// The environment names no store.
    #[error(
        "{name} is {value:?}, which is no address of a store: use https://HOST or http://HOST:PORT"
    )]
    Endpoint {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// Nobody answers.
    #[error(
        "{endpoint} does not answer: {source}: is it the right store? AWS_ENDPOINT_URL names another"
    )]
    Silent {
        /// The store.
        endpoint: String,
        /// What the connection said.
        source: reqwest::Error,
    },
    /// No such bucket.
    #[error("{endpoint} has no bucket {bucket:?}: is it the right store and region?")]
    NoBucket {
        /// The store.
        endpoint: String,
        /// The bucket.
        bucket: String,
    },
    /// Not for us.
    #[error(
        "{endpoint} refuses {bucket:?} ({reason}): check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and that \
         they may list the bucket and read it"
    )]
    Refused {
        /// The store.
        endpoint: String,
        /// The bucket.
        bucket: String,
        /// What the store said.
        reason: String,
    },
    /// Any other answer.
    #[error("{endpoint} answers {status} ({reason}) when asked for {what:?}")]
    Answer {
        /// The store.
        endpoint: String,
        /// What was asked for.
        what: String,
        /// Its answer.
        status: StatusCode,
        /// What it said.
        reason: String,
    },
    /// A list that cannot be read.
    #[error(
        "{endpoint} lists {bucket:?} in a way that cannot be read: {detail}: is it a store that speaks S3?"
    )]
    List {
        /// The store.
        endpoint: String,
        /// The bucket.
        bucket: String,
        /// Why.
        detail: String,
    },
    /// This machine.
    #[error("parts cannot be fetched to this machine: {0}")]
    Machine(#[from] std::io::Error),
}

/// A folder of a bucket.
pub(super) struct Store {
    endpoint: String,
    bucket: Bucket,
    /// Empty, or with a slash at its end.
    prefix: String,
    /// Without any the store is asked as anybody may.
    credentials: Option<Credentials>,
    client: Client,
    runtime: Runtime,
}

impl Store {
    /// The store that an address and the environment name.
    pub(super) fn open(address: &str) -> Result<Self, StoreError> {
        Self::with(address, |name| {
            env::var(name).ok().filter(|value| !value.trim().is_empty())
        })
    }

    fn with(
        address: &str,
        variable: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Self, StoreError> {
        let wrong = || StoreError::Address(address.to_owned());
        let path = address.strip_prefix(SCHEME).ok_or_else(wrong)?;
        let (name, prefix) = path.split_once('/').unwrap_or((path, ""));
        if name.is_empty() {
            return Err(wrong());
        }
        let prefix = match prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        let first = |names: [&'static str; 2]| {
            let set = |name| variable(name).map(|value| (name, value));
            names.into_iter().find_map(set)
        };
        let region = first(REGION).map_or_else(|| DEFAULT_REGION.to_owned(), |(_, region)| region);
        let aws = || {
            (
                REGION[0],
                format!("https://s3.{region}.amazonaws.com"),
                UrlStyle::VirtualHost,
            )
        };
        let own = first(ENDPOINT).map(|(name, value)| (name, value, UrlStyle::Path));
        let (variable, endpoint, style) = own.unwrap_or_else(aws);
        let bad = || StoreError::Endpoint {
            name: variable,
            value: endpoint.clone(),
        };
        let url = Url::parse(&endpoint).map_err(|_| bad())?;
        let bucket = Bucket::new(url, style, name.to_owned(), region.clone()).map_err(|error| {
            match error {
                BucketError::UnsupportedScheme | BucketError::MissingHost => bad(),
                // The name cannot be a part of a host's.
                BucketError::ParseError(_) => wrong(),
            }
        })?;
        // Fails only if a provider is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .build();
        Ok(Self {
            client: client.map_err(|error| std::io::Error::other(error.to_string()))?,
            runtime: Builder::new_current_thread().enable_all().build()?,
            credentials: Credentials::from_env(),
            endpoint,
            bucket,
            prefix,
        })
    }

    /// The names of all objects in the folder, as seen from there.
    pub(super) fn names(&self) -> Result<Vec<String>, StoreError> {
        self.runtime.block_on(async {
            let mut names = Vec::new();
            let mut token: Option<String> = None;
            loop {
                let mut list = ListObjectsV2::new(&self.bucket, self.credentials.as_ref());
                if !self.prefix.is_empty() {
                    list.with_prefix(self.prefix.as_str());
                }
                if let Some(token) = token {
                    list.with_continuation_token(token);
                }
                let answer = self
                    .ask(self.bucket.name(), || list.sign(SIGNED_FOR))
                    .await?;
                let text = answer.text().await.map_err(|error| self.silent(error))?;
                let page =
                    ListObjectsV2::parse_response(&text).map_err(|error| StoreError::List {
                        endpoint: self.endpoint.clone(),
                        bucket: self.bucket.name().to_owned(),
                        detail: error.to_string(),
                    })?;
                let inside = |key: &str| key.strip_prefix(&self.prefix).map(str::to_owned);
                names.extend(
                    page.contents
                        .iter()
                        .filter_map(|object| inside(&object.key)),
                );
                match page.next_continuation_token {
                    Some(next) => token = Some(next),
                    None => return Ok(names),
                }
            }
        })
    }

    /// Fetches objects of the folder into a directory, under their names.
    pub(super) fn fetch(&self, names: &[String], into: &Path) -> Result<(), StoreError> {
        let each = |name: &'_ String| {
            let (name, path) = (name.clone(), into.join(name));
            async move { self.fetch_one(&name, &path).await }
        };
        self.runtime.block_on(
            stream::iter(names)
                .map(each)
                .buffer_unordered(AT_ONCE)
                .try_collect(),
        )
    }

    async fn fetch_one(&self, name: &str, path: &Path) -> Result<(), StoreError> {
        let key = format!("{}{name}", self.prefix);
        let object = self.bucket.get_object(self.credentials.as_ref(), &key);
        let mut answer = self.ask(&key, || object.sign(SIGNED_FOR)).await?;
        let mut file = File::create(path)?;
        while let Some(bytes) = answer.chunk().await.map_err(|error| self.silent(error))? {
            file.write_all(&bytes)?;
        }
        Ok(())
    }

    /// Asks, more than once if the store has troubles that may pass.
    async fn ask(&self, what: &str, sign: impl Fn() -> Url) -> Result<Response, StoreError> {
        let mut wait = FIRST_WAIT;
        let mut tries = 1;
        loop {
            let answer = self.client.get(sign()).send().await;
            let may_pass = match &answer {
                Ok(answer) => {
                    let status = answer.status();
                    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
                }
                Err(error) => !error.is_builder(),
            };
            if !may_pass || tries == TRIES {
                let answer = answer.map_err(|error| self.silent(error))?;
                return if answer.status().is_success() {
                    Ok(answer)
                } else {
                    Err(self.refusal(what, answer).await)
                };
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
            tries += 1;
        }
    }

    fn silent(&self, error: reqwest::Error) -> StoreError {
        StoreError::Silent {
            endpoint: self.endpoint.clone(),
            // A signed address is a key to what it names.
            source: error.without_url(),
        }
    }

    async fn refusal(&self, what: &str, answer: Response) -> StoreError {
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        let code = element(&text, "Code").unwrap_or_default();
        let (endpoint, bucket) = (self.endpoint.clone(), self.bucket.name().to_owned());
        let reason = match element(&text, "Message") {
            Some(message) => format!("{code}: {message}"),
            None if code.is_empty() => status.to_string(),
            None => code.to_owned(),
        };
        match status {
            StatusCode::NOT_FOUND if code == "NoSuchBucket" => {
                StoreError::NoBucket { endpoint, bucket }
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => StoreError::Refused {
                endpoint,
                bucket,
                reason,
            },
            status => StoreError::Answer {
                endpoint,
                what: what.to_owned(),
                status,
                reason,
            },
        }
    }
}

/// The text of the first element of this name.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(address: &str, set: &[(&str, &str)]) -> Result<Store, StoreError> {
        Store::with(address, |name| {
            let found = set.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_names_the_store() {
        let own = [
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:9000"),
            ("AWS_REGION", "here"),
        ];
        for (address, set, url, prefix) in [
            (
                "s3://a",
                &[][..],
                "https://a.s3.us-east-1.amazonaws.com/",
                "",
            ),
            (
                "s3://a/b/c/",
                &[("AWS_DEFAULT_REGION", "eu-west-1")][..],
                "https://a.s3.eu-west-1.amazonaws.com/",
                "b/c/",
            ),
            ("s3://a//b", &own[..], "http://127.0.0.1:9000/a/", "b/"),
        ] {
            let store = open(address, set).unwrap_or_else(|error| panic!("{address}: {error}"));
            assert_eq!(store.bucket.base_url().as_str(), url);
            assert_eq!(store.prefix, prefix);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for address in ["s3://", "s3:///x", "gs://bucket/x", "http://host/x"] {
            assert!(
                matches!(open(address, &[]), Err(StoreError::Address(_))),
                "{address}"
            );
        }
        for endpoint in ["localhost", "ftp://host", "http://"] {
            let opened = open("s3://a", &[("AWS_ENDPOINT_URL", endpoint)]);
            assert!(
                matches!(opened, Err(StoreError::Endpoint { .. })),
                "{endpoint}"
            );
        }
    }
}
