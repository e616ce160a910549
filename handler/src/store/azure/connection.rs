//! From settings and URLs to where an account is and as whom it is used.
//!
//! In the cloud that is an identity, never a key: a key is accepted only for an emulator on this machine.

use super::guard::check_names;
use crate::identity::Secret;
use azure_core::http::Url;
use std::fmt;

/// The account that every storage emulator has.
const EMULATOR_ACCOUNT: &str = "devstoreaccount1";

/// Its key. Microsoft publishes it; it opens nothing else.
const EMULATOR_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Where an emulator serves blobs by default.
const EMULATOR: &str = "http://127.0.0.1:10000/devstoreaccount1";

/// Where the blobs of an account are, and as whom they are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub(super) endpoint: Url,
    pub(super) access: Access,
}

/// As whom an account is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// The managed identity; a user-assigned one by its client id.
    ManagedIdentity { client_id: Option<String> },
    /// Any identity that this process has.
    AnyIdentity,
    /// An emulator's key, in base64.
    Key { account: String, key: Secret },
}

/// Why settings or a URL name no account, container or blob that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// Nothing is set.
    #[error(
        "{setting} names no storage: set {setting}__blobServiceUri to \
         https://ACCOUNT.blob.core.windows.net"
    )]
    Missing {
        /// The connection's name, which its settings begin with.
        setting: String,
    },
    /// A connection string and a URL are set, of which only one can hold.
    #[error("{setting} and {setting}__blobServiceUri are both set; unset one of them")]
    Twice {
        /// The connection's name.
        setting: String,
    },
    /// What should be the address of a blob service is none, or has more in it.
    #[error(
        "{setting} is not the URL of a blob service; write https://ACCOUNT.blob.core.windows.net"
    )]
    NoAddress {
        /// The setting, with the part of a connection string where it is in one.
        setting: String,
    },
    /// A connection string holds the key of an account that is not an emulator on this machine.
    #[error(
        "{setting} holds an account key for {host}, but a key is accepted only for an emulator on \
         this machine: use an identity, with {setting}__blobServiceUri in place of {setting} and a \
         role on the account"
    )]
    KeyInCloud {
        /// The setting that holds the connection string.
        setting: String,
        /// The host that the key would be used for.
        host: String,
    },
    /// A connection string lacks a part.
    #[error("{setting} is a connection string without {part}; add it")]
    Incomplete {
        /// The setting that holds the connection string.
        setting: String,
        /// The name of the missing part, such as `AccountName`.
        part: &'static str,
    },
    /// A credential is set that is not the managed identity.
    #[error("{setting}__credential is {value}; write managedidentity, or leave it out")]
    UnknownCredential {
        /// The connection's name.
        setting: String,
        /// What is set.
        value: String,
    },
    /// A URL leads to no container, or to none that may be used.
    #[error(
        "{url} does not name a place for blobs: {reason}; write \
         https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH"
    )]
    NoPlace {
        /// The URL without its query and fragment; `the URL` where it holds a user's name or password.
        url: String,
        /// What is wrong with it, without a full stop.
        reason: &'static str,
    },
    /// A URL has a query, such as a shared access signature.
    #[error(
        "{url} has a query, and shared access signatures are not accepted: leave out everything \
         from the ? on, and use an identity with a role on the account"
    )]
    Query {
        /// The URL without its query, which may be a secret.
        url: String,
    },
    /// The client that sends requests cannot be made.
    #[error("storage cannot be connected: {reason}")]
    Client {
        /// What it or its signing key lacks, in the library's words.
        reason: String,
    },
}

impl Connection {
    /// Reads the connection `name` as the Functions host writes it: either `NAME`, a connection
    /// string for an emulator on this machine, or `NAME__blobServiceUri` (or `NAME__accountName`)
    /// with `NAME__credential` and `NAME__clientId`. Without a credential it is whichever identity
    /// this process has. `setting` gives the value of a setting; an empty one counts as not set.
    pub fn from_settings(
        name: &str,
        setting: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConnectionError> {
        let part = |part: &str| setting(&format!("{name}__{part}")).filter(|v| !v.is_empty());
        let service = part("blobServiceUri").or_else(|| {
            part("accountName").map(|account| format!("https://{account}.blob.core.windows.net"))
        });
        let text = setting(name).filter(|value| !value.is_empty());
        let setting = || name.to_owned();
        let service = match (text, service) {
            (Some(_), Some(_)) => return Err(ConnectionError::Twice { setting: setting() }),
            (Some(text), None) => return Self::from_connection_string(name, &text),
            (None, None) => return Err(ConnectionError::Missing { setting: setting() }),
            (None, Some(service)) => service,
        };
        let endpoint = Url::parse(&service).ok().filter(|url| {
            let plain = url.query().is_none() && url.fragment().is_none() && !has_user(url);
            plain && url.scheme() == "https" && url.path() == "/"
        });
        let endpoint = endpoint.ok_or_else(|| ConnectionError::NoAddress {
            setting: format!("{name}__blobServiceUri"),
        })?;
        let client_id = part("clientId");
        let access = match part("credential") {
            None if client_id.is_none() => Access::AnyIdentity,
            Some(value) if !value.eq_ignore_ascii_case("managedidentity") => {
                let setting = setting();
                return Err(ConnectionError::UnknownCredential { setting, value });
            }
            _ => Access::ManagedIdentity { client_id },
        };
        Ok(Self { endpoint, access })
    }

    /// Reads a connection string, which may name an emulator on this machine and nothing else.
    fn from_connection_string(setting: &str, text: &str) -> Result<Self, ConnectionError> {
        let no_address = |setting| ConnectionError::NoAddress { setting };
        let part = |name: &str| {
            let mut parts = text
                .split(';')
                .filter_map(|part| part.trim().split_once('='));
            let part = parts.find(|(found, _)| found.eq_ignore_ascii_case(name));
            part.map(|(_, value)| value)
        };
        if part("UseDevelopmentStorage").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Self::emulator(EMULATOR, EMULATOR_ACCOUNT, EMULATOR_KEY)
                .ok_or_else(|| no_address(setting.to_owned()));
        }
        let lacks = |part| ConnectionError::Incomplete {
            setting: setting.to_owned(),
            part,
        };
        let account = part("AccountName").ok_or_else(|| lacks("AccountName"))?;
        let in_cloud = |host: String| ConnectionError::KeyInCloud {
            setting: setting.to_owned(),
            host,
        };
        let Some(endpoint) = part("BlobEndpoint") else {
            let suffix = part("EndpointSuffix").unwrap_or("core.windows.net");
            return Err(in_cloud(format!("{account}.blob.{suffix}")));
        };
        let bad_endpoint = || no_address(format!("BlobEndpoint in {setting}"));
        let url = Url::parse(endpoint).map_err(|_| bad_endpoint())?;
        if !is_loopback(&url) {
            return Err(in_cloud(url.host_str().unwrap_or_default().to_owned()));
        }
        let key = part("AccountKey").ok_or_else(|| lacks("AccountKey"))?;
        Self::emulator(endpoint, account, key).ok_or_else(bad_endpoint)
    }

    fn emulator(endpoint: &str, account: &str, key: &str) -> Option<Self> {
        let endpoint = Url::parse(endpoint.trim_end_matches('/')).ok()?;
        let plain = endpoint.query().is_none() && !has_user(&endpoint);
        (plain && is_loopback(&endpoint)).then(|| Self {
            endpoint,
            access: Access::Key {
                account: account.to_owned(),
                key: Secret::new(key),
            },
        })
    }
}

/// A container in an account, or a path in it, as a person names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobUrl {
    /// The account, and as whom it is used.
    pub connection: Connection,
    /// The container's name, percent-decoded.
    pub container: String,
    /// The path in it, with `/`, without one at either end; empty for the container itself.
    pub path: String,
}

impl BlobUrl {
    /// Whether `text` is meant as a URL rather than as a path on this machine.
    pub fn is_meant(text: &str) -> bool {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        scheme.is_some_and(|scheme| {
            scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")
        })
    }

    /// Reads `https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH`, or, for an emulator on this
    /// machine, `http://127.0.0.1:PORT/ACCOUNT/CONTAINER/PATH`.
    pub fn parse(text: &str) -> Result<Self, ConnectionError> {
        let shown = text.split(['?', '#']).next().unwrap_or_default();
        let wrong = |reason| ConnectionError::NoPlace {
            url: shown.to_owned(),
            reason,
        };
        // The path is taken from the text itself: a parser would resolve what climbs in it.
        let after_scheme = shown.split_once("://").map_or("", |(_, rest)| rest);
        let (host, path) = after_scheme.split_once('/').unwrap_or((after_scheme, ""));
        let path = path.trim_end_matches('/');
        let odd = |c: char| c == '\\' || c.is_control();
        if host.is_empty() || shown.contains(odd) {
            return Err(wrong("it is not a URL"));
        }
        let url = Url::parse(shown).map_err(|_| wrong("it is not a URL"))?;
        if has_user(&url) {
            let url = "the URL".to_owned();
            let reason = "it holds a user's name or password";
            return Err(ConnectionError::NoPlace { url, reason });
        }
        if text.contains('?') {
            let url = shown.to_owned();
            return Err(ConnectionError::Query { url });
        }
        if text.contains('#') {
            return Err(wrong("it has a fragment"));
        }
        let mut names = path.split('/').map(decode);
        let mut name = |what| match names.next() {
            Some(Some(name)) if !name.is_empty() => Ok(name),
            _ => Err(wrong(what)),
        };
        let (mut endpoint, access) = if is_loopback(&url) {
            let account = name("it names no account")?;
            let key = Secret::new(EMULATOR_KEY);
            (url.clone(), Access::Key { account, key })
        } else if url.scheme() == "https" {
            (url.clone(), Access::AnyIdentity)
        } else {
            return Err(wrong("it is not https"));
        };
        endpoint.set_path(match &access {
            Access::Key { account, .. } => account,
            _ => "",
        });
        let container = name("it names no container")?;
        let rest = names.collect::<Option<Vec<_>>>();
        let path = rest.ok_or_else(|| wrong("it is not UTF-8"))?.join("/");
        if !path.is_empty() {
            check_names(&path).map_err(wrong)?;
        }
        Ok(Self {
            connection: Connection { endpoint, access },
            container,
            path,
        })
    }
}

impl fmt::Display for BlobUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = &self.connection.endpoint;
        f.write_str(&locate(endpoint, &self.container, &self.path))
    }
}

/// The URL of a blob as people write it, with nothing in it that opens it.
pub(super) fn locate(endpoint: &Url, container: &str, path: &str) -> String {
    let mut url = endpoint.clone();
    if let Ok(mut names) = url.path_segments_mut() {
        names.pop_if_empty().push(container);
        names.extend(path.split('/').filter(|name| !name.is_empty()));
    }
    url.to_string()
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost" | "[::1]") => true,
        Some(host) => host
            .parse::<std::net::Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}

fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Undoes the percent-encoding of one name; `None` where that is not UTF-8.
pub(crate) fn decode(name: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.split_at_checked(2).filter(|_| first == b'%');
        let byte = digits.and_then(|(digits, after)| {
            let digits = std::str::from_utf8(digits).ok()?;
            let byte = u8::from_str_radix(digits, 16).ok()?;
            digits
                .bytes()
                .all(|digit| digit.is_ascii_hexdigit())
                .then_some((byte, after))
        });
        let (byte, after) = byte.unwrap_or((first, after));
        decoded.push(byte);
        rest = after;
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn settings(pairs: &[(&str, &str)]) -> Result<Connection, ConnectionError> {
        let pairs = pairs.iter().copied().collect::<BTreeMap<_, _>>();
        Connection::from_settings("Data", |name| pairs.get(name).map(|v| (*v).to_owned()))
    }

    const URI: (&str, &str) = ("Data__blobServiceUri", "https://acct.blob.core.windows.net");

    #[test]
    fn an_identity_is_named_or_looked_for() {
        let any = settings(&[URI]).unwrap();
        assert_eq!(any.access, Access::AnyIdentity);
        assert_eq!(any.endpoint.as_str(), "https://acct.blob.core.windows.net/");
        let by_name = settings(&[("Data__accountName", "acct"), ("Data", "")]).unwrap();
        assert_eq!(by_name, any);
        let managed = settings(&[URI, ("Data__credential", "managedIdentity")]).unwrap();
        assert_eq!(managed.access, Access::ManagedIdentity { client_id: None });
        let client_id = Some("id".to_owned());
        for credential in ["managedidentity", ""] {
            let credential = ("Data__credential", credential);
            let user_assigned = settings(&[URI, credential, ("Data__clientId", "id")]).unwrap();
            let client_id = client_id.clone();
            assert_eq!(user_assigned.access, Access::ManagedIdentity { client_id });
        }
    }

    #[test]
    fn a_connection_string_leads_to_an_emulator_on_this_machine() {
        let text = "DefaultEndpointsProtocol=http;AccountName=account001;AccountKey=a2V5PQ==;\
                    BlobEndpoint=http://127.0.0.1:4711/account001;QueueEndpoint=http://x/y;";
        let connection = settings(&[("Data", text)]).unwrap();
        assert_eq!(
            connection.endpoint.as_str(),
            "http://127.0.0.1:4711/account001"
        );
        let Access::Key { account, key } = &connection.access else {
            panic!("{connection:?}");
        };
        assert_eq!((account.as_str(), key.expose()), ("account001", "a2V5PQ=="));
        let development = settings(&[("Data", "UseDevelopmentStorage=true")]).unwrap();
        assert_eq!(development.endpoint.as_str(), EMULATOR);
    }

    #[test]
    fn a_key_for_the_cloud_is_refused_and_not_shown() {
        let in_cloud = "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=hunter2;\
                        EndpointSuffix=core.windows.net";
        let elsewhere = "AccountName=a;AccountKey=hunter2;BlobEndpoint=http://127.0.0.1.evil.com/a";
        for (text, host) in [
            (in_cloud, "acct.blob.core.windows.net"),
            (elsewhere, "evil.com"),
        ] {
            let error = settings(&[("Data", text)]).unwrap_err().to_string();
            assert!(
                error.contains(host) && error.contains("identity"),
                "{error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn what_is_missing_or_contradicts_is_named() {
        let cases: [(&[(&str, &str)], &str); 7] = [
            (&[], "set Data__blobServiceUri"),
            (&[URI, ("Data", "UseDevelopmentStorage=true")], "unset one"),
            (
                &[URI, ("Data__credential", "password")],
                "Data__credential is password",
            ),
            (
                &[("Data__blobServiceUri", "http://acct.blob.core.windows.net")],
                "not the URL of a blob service",
            ),
            (
                &[(
                    "Data__blobServiceUri",
                    "https://a.blob.core.windows.net/?sig=x",
                )],
                "not the URL of a blob service",
            ),
            (&[("Data", "AccountKey=x")], "without AccountName"),
            (
                &[("Data", "AccountName=a;BlobEndpoint=http://127.0.0.1:1/a")],
                "without AccountKey",
            ),
        ];
        for (pairs, expected) in cases {
            let error = settings(pairs).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_url_names_account_container_and_path() {
        let url = BlobUrl::parse("https://acct.blob.core.windows.net/data/base/v%204/").unwrap();
        assert_eq!(
            url.connection.endpoint.as_str(),
            "https://acct.blob.core.windows.net/"
        );
        assert_eq!(
            (url.container.as_str(), url.path.as_str()),
            ("data", "base/v 4")
        );
        assert_eq!(
            url.to_string(),
            "https://acct.blob.core.windows.net/data/base/v%204"
        );
        let local = BlobUrl::parse("http://127.0.0.1:10000/devstoreaccount1/data").unwrap();
        assert_eq!(local.connection.endpoint.as_str(), EMULATOR);
        assert_eq!(
            (local.container.as_str(), local.path.as_str()),
            ("data", "")
        );
        assert_eq!(local.to_string(), format!("{EMULATOR}/data"));
    }

    #[test]
    fn a_url_that_hides_something_is_refused() {
        let base = "https://acct.blob.core.windows.net/data";
        for (url, expected) in [
            (
                format!("{base}/v4?sv=2024&sig=hunter2"),
                "signatures are not accepted",
            ),
            (
                "https://u:hunter2@acct.blob.core.windows.net/data".into(),
                "password",
            ),
            ("http://acct.blob.core.windows.net/data".into(), "https"),
            ("https://acct.blob.core.windows.net/".into(), "container"),
            (
                "http://127.0.0.1:10000/devstoreaccount1".into(),
                "container",
            ),
            (format!("{base}/LABELED_v4/../v4"), "leave its folder"),
            (format!("{base}/LABELED_v4/%2e%2E/v4"), "leave its folder"),
            (format!("{base}/a//b"), "empty name"),
            (format!("{base}/LABELED_v4\\..\\v4"), "not a URL"),
            (
                "https:///acct.blob.core.windows.net/data".into(),
                "not a URL",
            ),
            (format!("{base}/a%2Fb/%252e%252e"), "leave its folder"),
        ] {
            let error = BlobUrl::parse(&url).unwrap_err().to_string();
            assert!(error.contains(expected), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn percent_signs_stand_for_what_they_say() {
        assert_eq!(decode("a%20b%2f").unwrap(), "a b/");
        assert_eq!(decode("100%").unwrap(), "100%");
        assert_eq!(decode("%+1%zz").unwrap(), "%+1%zz");
        assert_eq!(decode("tr%C3%A4in").unwrap(), "träin");
        assert_eq!(decode("%ff"), None);
    }
}
