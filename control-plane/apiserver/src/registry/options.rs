//! The options of requests, as they stand in queries.

use crate::request::Query;
use api::status::{FieldReason, quoted};
use api::{FieldError, Status};
use http::{HeaderMap, header};
use std::num::{IntErrorKind, ParseIntError};

/// A number of a query, with upstream's message where it is none.
pub(crate) fn integer(text: &str) -> Result<i64, Status> {
    let message = |e: &ParseIntError| format!("strconv.ParseInt: parsing {text:?}: {}", go_reason(e));
    text.parse().map_err(|e| Status::bad_request(message(&e)))
}

fn go_reason(error: &ParseIntError) -> &'static str {
    match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
        _ => "invalid syntax",
    }
}

/// A number of the query; `None` where the parameter is absent.
pub(crate) fn number(query: &Query, key: &str) -> Result<Option<i64>, Status> {
    query.has(key).then(|| integer(query.get(key))).transpose()
}

/// Whether `dryRun` values ask for a dry run; what they are instead is pushed to `errors`.
pub(crate) fn dry_run<'a>(values: impl Iterator<Item = &'a str>, errors: &mut Vec<FieldError>) -> bool {
    let values: Vec<&str> = values.collect();
    if values.iter().any(|v| *v != "All") {
        let shown: Vec<String> = values.iter().map(|v| format!("{v:?}")).collect();
        let message = format!("Unsupported value: [{}]: supported values: \"All\"", shown.join(","));
        errors.push(FieldError::new(FieldReason::NotSupported, "dryRun", message));
    }
    !values.is_empty()
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
    let dry_run = dry_run(query.all("dryRun"), &mut errors);
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
    if let Some((at, c)) = manager.chars().enumerate().find(|(_, c)| !printable(*c)) {
        let message =
            format!("Invalid value: {}: invalid character {} (at position {at})", quoted(manager), code_point(c));
        errors.push(FieldError::new(FieldReason::Invalid, "fieldManager", message));
    }
    match errors.is_empty() {
        true => Ok(WriteOptions { dry_run, field_validation }),
        false => Err(Status::invalid("meta.k8s.io", kind, "", &errors)),
    }
}

fn printable(c: char) -> bool {
    !c.is_control() && (c == ' ' || !c.is_whitespace())
}

/// `U+0007`.
fn code_point(c: char) -> String {
    format!("U+{:04X}", u32::from(c))
}

/// PatchOptions of a patch that is no apply: there is nothing to force.
pub(crate) fn patch(query: &Query) -> Result<WriteOptions, Status> {
    if query.has("force") {
        let message = "Forbidden: may not be specified for non-apply patch";
        let error = FieldError::new(FieldReason::Forbidden, "force", message);
        return Err(Status::invalid("meta.k8s.io", "PatchOptions", "", &[error]));
    }
    write(query, "PatchOptions")
}

/// An apply says on whose behalf.
pub(crate) fn needs_manager() -> Status {
    let error = FieldError::new(FieldReason::Required, "fieldManager", "Required value: is required for apply patch");
    Status::invalid("meta.k8s.io", "PatchOptions", "", &[error])
}

/// Who is recorded as the owner of what a request writes: whom the query names, else the program of the user agent.
pub(crate) fn manager(query: &Query, headers: &HeaderMap) -> String {
    match query.get("fieldManager") {
        "" => {
            let agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or("");
            let program = agent.split('/').next().unwrap_or("");
            program.chars().filter(|c| !c.is_control()).take(MAX_MANAGER).collect()
        }
        named => named.to_owned(),
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
    /// `None` where the parameter is empty, or the list goes on.
    pub resource_version: Option<u64>,
    /// Whether a version is asked for that a list cannot go on at.
    pub versioned: bool,
    pub version_match: Match,
    pub timeout_seconds: Option<u64>,
    pub bookmarks: bool,
    pub initial_events: Option<bool>,
}

/// The options of a list or a watch. What cannot be read is told first, then what does not fit together; `selected`
/// reads the selectors, and judges them when all else is well.
pub(crate) fn list<S>(
    query: &Query,
    watch: bool,
    selected: impl FnOnce() -> Result<S, Status>,
    judged: impl FnOnce(&S) -> Result<(), Status>,
) -> Result<(ListOptions, S), Status> {
    let timeout = number(query, "timeoutSeconds")?;
    let limit = number(query, "limit")?.unwrap_or(0);
    let selection = selected()?;
    let version_match = check_match(query, watch)?;
    judged(&selection)?;
    let (version, continues) = (query.get("resourceVersion"), query.get("continue"));
    let resource_version = match version {
        text if text.is_empty() || (!continues.is_empty() && !watch) => None,
        text => Some(parse_version(text, watch)?),
    };
    let options = ListOptions {
        limit: usize::try_from(limit).unwrap_or(0),
        continues: continues.to_owned(),
        resource_version,
        versioned: !matches!(version, "" | "0"),
        version_match,
        timeout_seconds: timeout.and_then(|t| u64::try_from(t).ok()).filter(|t| *t > 0),
        bookmarks: query.is("allowWatchBookmarks"),
        initial_events: query.has("sendInitialEvents").then(|| query.is("sendInitialEvents")),
    };
    Ok((options, selection))
}

/// A version: digits alone.
fn parse_version(text: &str, bare: bool) -> Result<u64, Status> {
    let why = match text.parse() {
        Ok(version) if !text.starts_with('+') => return Ok(version),
        Ok(_) => "invalid syntax",
        Err(e) => go_reason(&e),
    };
    Err(bad_version(text, why, bare))
}

fn bad_version(text: &str, why: &str, bare: bool) -> Status {
    let message = format!("resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: {why}");
    match bare {
        true => Status::new(500, "", message),
        false => Status::bad_request(format!("invalid resource version: {message}")),
    }
}

/// The version of a GET, which upstream refuses with a bare error.
pub(crate) fn get_version(query: &Query) -> Result<u64, Status> {
    match query.get("resourceVersion") {
        "" => Ok(0),
        text => parse_version(text, true),
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
    const CONTINUED: &str = "Forbidden: resourceVersionMatch is forbidden when continue is provided";
    if watch {
        if initial && given != "NotOlderThan" {
            let why = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            refuse(FieldReason::Forbidden, FIELD, why);
        }
        if !initial && !given.is_empty() {
            let why = "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            refuse(FieldReason::Forbidden, FIELD, why);
        }
        if !matches!(given, "" | "NotOlderThan") {
            let why = format!("Unsupported value: {given:?}: supported values: \"NotOlderThan\"");
            refuse(FieldReason::NotSupported, FIELD, &why);
        }
        if !query.get("continue").is_empty() {
            refuse(FieldReason::Forbidden, FIELD, CONTINUED);
        }
    } else {
        if !given.is_empty() {
            if version.is_empty() {
                refuse(
                    FieldReason::Forbidden,
                    FIELD,
                    "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
                );
            }
            if !query.get("continue").is_empty() {
                refuse(FieldReason::Forbidden, FIELD, CONTINUED);
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
        if initial {
            refuse(FieldReason::Forbidden, "sendInitialEvents", "Forbidden: sendInitialEvents is forbidden for list");
        }
    }
    match errors.is_empty() {
        true => Ok(found),
        false => Err(Status::invalid("meta.k8s.io", "ListOptions", "", &errors)),
    }
}
