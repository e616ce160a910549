//! What the service's refusals mean. One function decides it, for all operations.

use super::super::StoreError;
use super::super::error::BREAK_LEASE;
use super::calls::may_pass;
use crate::identity::explain;
use azure_core::error::{Error, ErrorKind};
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// There is no such blob, or no such container.
    Missing {
        container: bool,
    },
    /// What is there is not what the request was for.
    Condition,
    /// Another process has a lease, or ours has ended.
    Lease,
    /// The blob does not end where the request would append.
    Position,
    /// The blob ends before the range begins.
    Range,
    /// Blocks that were staged are gone: another commit to the blob discards them.
    Blocks,
    /// The append blob has as many blocks as it can have.
    Full,
    Passing,
    /// A person must do something before it can work.
    Final,
}

/// Decides what `error` means.
/// <https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes>
pub(super) fn meaning(error: &Error) -> Meaning {
    let ErrorKind::HttpResponse {
        status, error_code, ..
    } = error.kind()
    else {
        return match error.kind() {
            // Tokens are issued by a service that can be down, too.
            ErrorKind::Credential => Meaning::Passing,
            _ if may_pass(error) => Meaning::Passing,
            _ => Meaning::Final,
        };
    };
    let code = error_code.as_deref().unwrap_or_default();
    match u16::from(*status) {
        404 => Meaning::Missing {
            container: code == "ContainerNotFound",
        },
        409 => match code {
            "BlobAlreadyExists" | "ContainerAlreadyExists" => Meaning::Condition,
            "ContainerBeingDeleted" => Meaning::Passing,
            "BlockCountExceedsLimit" => Meaning::Full,
            code if code.contains("Lease") => Meaning::Lease,
            _ => Meaning::Final,
        },
        412 => match code {
            "AppendPositionConditionNotMet" => Meaning::Position,
            code if code.contains("Lease") => Meaning::Lease,
            _ => Meaning::Condition,
        },
        416 => Meaning::Range,
        400 if code == "InvalidBlockList" => Meaning::Blocks,
        _ if may_pass(error) => Meaning::Passing,
        _ => Meaning::Final,
    }
}

/// The failure of `operation` on `place`, where nothing better is known than the service's answer.
pub(super) fn failure(error: Error, operation: &'static str, place: &str) -> StoreError {
    let place = place.to_owned();
    match meaning(&error) {
        Meaning::Missing { .. } => StoreError::NotFound { place },
        Meaning::Lease => held(place),
        Meaning::Full => StoreError::Full { place },
        Meaning::Passing => StoreError::Unavailable {
            operation,
            place,
            source: Answer(error).into(),
        },
        _ => StoreError::Refused {
            operation,
            place,
            remedy: match (error.http_status().map(u16::from), code(&error)) {
                (_, "BlobArchived" | "BlobBeingRehydrated") => {
                    "it is in the archive tier: set its tier to hot or cool, and wait until it is there"
                }
                (_, "AccountIsDisabled") => "see in the portal why the account is disabled",
                (_, code) if code.contains("Quota") => {
                    "remove what is not needed, or have the account's quota raised"
                }
                (Some(507), _) => "remove what is not needed, or have the account's quota raised",
                (Some(401 | 403), _) => {
                    "give this identity the role Storage Blob Data Contributor on the container \
                     (Storage Blob Data Reader is enough for reading), and check that the \
                     account's network rules let it in"
                }
                _ => "check the place and the account",
            },
            source: Answer(error).into(),
        },
    }
}

/// The failure of `operation` on a file that this process never leases: a lease on it belongs to another
/// client.
pub(super) fn write_failure(error: Error, operation: &'static str, place: &str) -> StoreError {
    match meaning(&error) {
        Meaning::Lease => StoreError::Refused {
            operation,
            place: place.to_owned(),
            source: Answer(error).into(),
            remedy: BREAK_LEASE,
        },
        _ => failure(error, operation, place),
    }
}

/// The service's own code for an answer, if it gave one.
fn code(error: &Error) -> &str {
    match error.kind() {
        ErrorKind::HttpResponse { error_code, .. } => error_code.as_deref().unwrap_or_default(),
        _ => "",
    }
}

/// Another process holds what this process wanted, or had.
pub(super) fn held(place: String) -> StoreError {
    StoreError::Held {
        place,
        holder: "another process".into(),
    }
}

/// The service's answer, or why there is none, told in a few words: its own may quote a secret.
struct Answer(Error);

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind() {
            ErrorKind::HttpResponse { status, .. } => {
                write!(f, "the service answered {}", u16::from(*status))?;
                match code(&self.0) {
                    "" => Ok(()),
                    code => write!(f, " {code}"),
                }
            }
            _ => explain(&self.0).fmt(f),
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Answer {}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: &str) -> Error {
        ErrorKind::HttpResponse {
            status: status.into(),
            error_code: (!code.is_empty()).then(|| code.to_owned()),
            raw_response: None,
        }
        .into_error()
    }

    #[test]
    fn every_answer_has_one_meaning() {
        use Meaning::{Blocks, Condition, Final, Lease, Missing, Passing, Position, Range};
        let (blob, container) = (Missing { container: false }, Missing { container: true });
        for (status, code, expected) in [
            (404, "BlobNotFound", blob),
            (404, "", blob),
            (404, "ContainerNotFound", container),
            (409, "BlobAlreadyExists", Condition),
            (412, "ConditionNotMet", Condition),
            (412, "", Condition),
            (409, "LeaseAlreadyPresent", Lease),
            (409, "LeaseIdMismatchWithLeaseOperation", Lease),
            (409, "LeaseIsBrokenAndCannotBeRenewed", Lease),
            (412, "LeaseIdMissing", Lease),
            (412, "LeaseIdMismatchWithBlobOperation", Lease),
            (412, "LeaseNotPresentWithBlobOperation", Lease),
            (412, "LeaseLost", Lease),
            (412, "AppendPositionConditionNotMet", Position),
            (416, "InvalidRange", Range),
            (400, "InvalidBlockList", Blocks),
            (400, "InvalidHeaderValue", Final),
            (401, "NoAuthenticationInformation", Final),
            (403, "AuthorizationPermissionMismatch", Final),
            (403, "AuthorizationFailure", Final),
            (409, "InvalidBlobType", Final),
            (409, "SnapshotsPresent", Final),
            (409, "BlockCountExceedsLimit", Meaning::Full),
            (409, "ContainerBeingDeleted", Passing),
            (408, "", Passing),
            (429, "", Passing),
            (500, "InternalError", Passing),
            (500, "OperationTimedOut", Passing),
            (502, "", Passing),
            (503, "ServerBusy", Passing),
            (504, "", Passing),
            (501, "NotImplemented", Final),
        ] {
            assert_eq!(meaning(&answer(status, code)), expected, "{status} {code}");
        }
        for (kind, expected) in [
            (ErrorKind::Io, Passing),
            (ErrorKind::Connection, Passing),
            (ErrorKind::Credential, Passing),
            (ErrorKind::DataConversion, Final),
            (ErrorKind::Other, Final),
        ] {
            let error = Error::with_message(kind.clone(), "x");
            assert_eq!(meaning(&error), expected, "{kind}");
        }
    }

    #[test]
    fn a_failure_says_what_to_do() {
        let place = "https://acct.blob.core.windows.net/data/a";
        let error = answer(403, "AuthorizationPermissionMismatch");
        let failure = failure(error, "read", place);
        assert!(!failure.is_passing());
        assert_eq!(
            failure.to_string(),
            "cannot read https://acct.blob.core.windows.net/data/a: the service answered 403 \
             AuthorizationPermissionMismatch; give this identity the role Storage Blob Data \
             Contributor on the container (Storage Blob Data Reader is enough for reading), and \
             check that the account's network rules let it in"
        );
    }

    #[test]
    fn an_outage_is_told_apart() {
        let error = Error::with_message(ErrorKind::Io, "no answer within 30 s");
        let failure = failure(error, "write", "https://a/b/c");
        assert!(failure.is_passing());
        assert_eq!(
            failure.to_string(),
            "cannot write https://a/b/c: no answer within 30 s; try again later"
        );
    }
}
