//! The options of requests, as they stand in queries.

use crate::request::Query;
use api::{FieldError, Status, status::FieldReason};

/// A number of a query, with upstream's message where it is none.
pub(crate) fn integer(text: &str) -> Result<i64, Status> {
    text.parse().map_err(|_| Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))
}

/// Whether `dryRun` values ask for a dry run. `kind` is the options' kind.
pub(crate) fn dry_run<'a>(values: impl Iterator<Item = &'a str>, kind: &str) -> Result<bool, Status> {
    let mut asked = false;
    for value in values.filter(|v| !v.is_empty()) {
        if value != "All" {
            let message = format!("Unsupported value: [{value:?}]: supported values: \"All\"");
            let error = FieldError::new(FieldReason::NotSupported, "dryRun", message);
            return Err(Status::invalid("meta.k8s.io", kind, "", &[error]));
        }
        asked = true;
    }
    Ok(asked)
}

/// What to do with unknown and duplicate fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WriteOptions {
    pub dry_run: bool,
    pub field_validation: FieldValidation,
}

/// CreateOptions, UpdateOptions and PatchOptions; `kind` says which.
pub(crate) fn write(query: &Query, kind: &str) -> Result<WriteOptions, Status> {
    let mut errors = Vec::new();
    let dry_run = dry_run(query.all("dryRun"), kind)?;
    let field_validation = match query.get("fieldValidation") {
        "" | "Warn" => FieldValidation::Warn,
        "Ignore" => FieldValidation::Ignore,
        "Strict" => FieldValidation::Strict,
        other => {
            let message =
                format!("Unsupported value: {other:?}: supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"");
            errors.push(FieldError::new(FieldReason::NotSupported, "fieldValidation", message));
            FieldValidation::Warn
        }
    };
    let manager = query.get("fieldManager");
    if manager.chars().count() > MAX_MANAGER {
        let message = format!("Too long: may not be more than {MAX_MANAGER} bytes");
        errors.push(FieldError::new(FieldReason::TooLong, "fieldManager", message));
    }
    match errors.is_empty() {
        true => Ok(WriteOptions { dry_run, field_validation }),
        false => Err(Status::invalid("meta.k8s.io", kind, "", &errors)),
    }
}

/// Upstream's limit on the length of a field manager's name.
pub(crate) const MAX_MANAGER: usize = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match {
    Unset,
    Exact,
    NotOlderThan,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ListOptions {
    /// 0 is none.
    pub limit: usize,
    pub continues: String,
    /// `None` where the parameter is empty.
    pub resource_version: Option<u64>,
    pub version_match: Match,
    pub timeout_seconds: Option<u64>,
    pub bookmarks: bool,
    pub initial_events: Option<bool>,
}

/// The options of a list or a watch.
pub(crate) fn list(query: &Query, watch: bool) -> Result<ListOptions, Status> {
    let number = |key: &str| match query.get(key) {
        "" => Ok(None),
        text => integer(text).map(Some),
    };
    let limit = number("limit")?.unwrap_or(0);
    let timeout = number("timeoutSeconds")?;
    let version_match = check_match(query, watch)?;
    let resource_version = match query.get("resourceVersion") {
        "" => None,
        text => Some(text.parse().map_err(|_| bad_version(text, watch))?),
    };
    let bookmarks = query.is("allowWatchBookmarks");
    let initial_events = query.has("sendInitialEvents").then(|| query.is("sendInitialEvents"));
    Ok(ListOptions {
        limit: usize::try_from(limit).unwrap_or(0),
        continues: query.get("continue").to_owned(),
        resource_version,
        version_match,
        timeout_seconds: timeout.and_then(|t| u64::try_from(t).ok()).filter(|t| *t > 0),
        bookmarks,
        initial_events,
    })
}

fn bad_version(text: &str, watch: bool) -> Status {
    let message =
        format!("resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax");
    match watch {
        true => Status::new(500, "", message),
        false => Status::bad_request(format!("invalid resource version: {message}")),
    }
}

/// The version of a GET, which upstream refuses with a bare error.
pub(crate) fn get_version(query: &Query) -> Result<u64, Status> {
    match query.get("resourceVersion") {
        "" => Ok(0),
        text => text.parse().map_err(|_| bad_version(text, true)),
    }
}

fn check_match(query: &Query, watch: bool) -> Result<Match, Status> {
    let mut errors = Vec::new();
    let mut refuse = |reason, field: &str, message: &str| errors.push(FieldError::new(reason, field, message));
    let (given, version) = (query.get("resourceVersionMatch"), query.get("resourceVersion"));
    let initial = query.has("sendInitialEvents");
    let found = match given {
        "" => Match::Unset,
        "Exact" => Match::Exact,
        _ => Match::NotOlderThan,
    };
    const FIELD: &str = "resourceVersionMatch";
    if watch {
        match (initial, given) {
            (true, "NotOlderThan") | (false, "") => {}
            (true, "") => refuse(
                FieldReason::Forbidden,
                FIELD,
                "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ),
            (true, other) => refuse(
                FieldReason::NotSupported,
                FIELD,
                &format!("Unsupported value: {other:?}: supported values: \"NotOlderThan\""),
            ),
            (false, _) => refuse(
                FieldReason::Forbidden,
                FIELD,
                "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ),
        }
    } else {
        if initial {
            refuse(FieldReason::Forbidden, "sendInitialEvents", "Forbidden: sendInitialEvents is forbidden for list");
        }
        if !given.is_empty() {
            if version.is_empty() {
                refuse(
                    FieldReason::Forbidden,
                    FIELD,
                    "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
                );
            }
            if !query.get("continue").is_empty() {
                refuse(
                    FieldReason::Forbidden,
                    FIELD,
                    "Forbidden: resourceVersionMatch is forbidden when continue is provided",
                );
            }
            if !matches!(given, "Exact" | "NotOlderThan") {
                let message =
                    format!("Unsupported value: {given:?}: supported values: \"Exact\", \"NotOlderThan\", \"\"");
                refuse(FieldReason::NotSupported, FIELD, &message);
            }
            if given == "Exact" && version == "0" {
                refuse(
                    FieldReason::Forbidden,
                    FIELD,
                    "Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
                );
            }
        }
    }
    match errors.is_empty() {
        true => Ok(found),
        false => Err(Status::invalid("meta.k8s.io", "ListOptions", "", &errors)),
    }
}
