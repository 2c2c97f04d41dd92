//! What a client wants to get and what it sends: media types, shapes, compression.

use api::Status;
use api::status::Details;
use http::{HeaderMap, header};

/// The media types of objects, in the words of errors.
const OFFERED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
/// The same for whoever may watch with the same path.
const OFFERED_LISTS: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf, \
                             application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
const OFFERED_LOGS: &str = "text/plain, application/json, application/yaml, application/vnd.kubernetes.protobuf";
/// The same for watches.
const OFFERED_STREAMS: &str = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";

pub(crate) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Yaml,
    Protobuf,
}

/// What an endpoint can answer besides JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Built-in types, errors among them.
    Types,
    /// Objects of a kind that protobuf has no type for: it can show their metadata alone.
    Custom,
    /// Built-in types in the one form that they have.
    Whole,
}

/// What a route produces, in the words of its refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Objects,
    /// Objects that may be watched as well.
    Lists,
    Logs,
    Json,
    Keys,
}

impl Route {
    fn produces(self) -> &'static str {
        match self {
            Route::Objects => OFFERED,
            Route::Lists => OFFERED_LISTS,
            Route::Logs => OFFERED_LOGS,
            Route::Json => "application/json",
            Route::Keys => "application/jwk-set+json",
        }
    }
}

/// Refuses what a route produces nothing for. As upstream's router: types are compared as they are written, whatever
/// weight they have.
pub(crate) fn routed(headers: &HeaderMap, route: Route) -> Result<(), Status> {
    let asked = header(headers);
    let produced = |media: &str| media == "*/*" || route.produces().split(", ").any(|one| one == media);
    let mut media = asked.split(',').map(|clause| clause.split(';').next().unwrap_or("").trim_matches(' '));
    if asked.is_empty() || media.any(produced) {
        return Ok(());
    }
    let message = format!("406: Not Acceptable\n\nAvailable representations: {}", route.produces());
    Err(Status { details: Some(Details::default()), ..Status::new(406, "NotAcceptable", message) })
}

/// The Accept header: the first where there are several.
fn header(headers: &HeaderMap) -> &str {
    headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("")
}

/// The form that objects are shown in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    Whole,
    /// `PartialObjectMetadata`, or its list.
    Partial {
        version: String,
        list: bool,
    },
    Table {
        version: String,
        include: Include,
    },
}

/// What the rows of a Table hold besides their cells (`includeObject`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Include {
    None,
    Metadata,
    Object,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accept {
    pub encoding: Encoding,
    pub shape: Shape,
    pub gzip: bool,
    pub pretty: bool,
}

impl Accept {
    pub(crate) fn plain() -> Accept {
        Accept { encoding: Encoding::Json, shape: Shape::Whole, gzip: false, pretty: false }
    }
}

/// One media range of an Accept header.
#[derive(Debug, PartialEq)]
pub(crate) struct Clause<'a> {
    pub media: &'a str,
    params: Vec<(&'a str, &'a str)>,
    q: f32,
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Option<Clause<'a>> {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next().filter(|m| *m == "*" || m.split('/').count() == 2)?;
        let params: Vec<_> =
            parts.filter_map(|p| p.split_once('=')).map(|(k, v)| (k.trim(), v.trim().trim_matches('"'))).collect();
        // As upstream: what has no weight that can be read has none, and comes last.
        let q = params.iter().find(|(k, _)| *k == "q").map_or(1.0, |(_, v)| v.parse().unwrap_or(0.0));
        Some(Clause { media: if media == "*" { "*/*" } else { media }, params, q })
    }

    /// Whether it comes before another, in upstream's order, which is none: each of two may come before the other.
    fn precedes(&self, other: &Clause<'_>) -> bool {
        let any = |c: &Clause<'_>| c.media.starts_with("*/");
        let any_of = |c: &Clause<'_>| c.media.ends_with("/*");
        self.q > other.q || (!any(self) && any(other)) || (!any_of(self) && any_of(other))
    }

    pub(crate) fn param(&self, key: &str) -> &'a str {
        self.params.iter().find(|(k, _)| *k == key).map_or("", |(_, v)| v)
    }
}

/// The ranges of the Accept header, best first; one that takes anything where there is no header, or nothing in it.
pub(crate) fn clauses(headers: &HeaderMap) -> Vec<Clause<'_>> {
    let asked = header(headers);
    if asked.trim().is_empty() {
        return vec![Clause { media: "*/*", params: Vec::new(), q: 1.0 }];
    }
    let mut clauses: Vec<Clause<'_>> = Vec::new();
    // Put in one by one, as the order is none that a sort could rely on.
    for clause in asked.split(',').filter_map(Clause::parse) {
        let at = clauses.iter().rposition(|before| !clause.precedes(before)).map_or(0, |at| at + 1);
        clauses.insert(at, clause);
    }
    clauses
}

/// In what an error is shown: as the client accepts it whole, else as JSON on many lines.
pub(crate) fn of_errors(headers: &HeaderMap, query: &crate::request::Query) -> Accept {
    let whole =
        |c: &Clause<'_>| encoding(c).filter(|_| c.param("as").is_empty()).map(|e| (e, c.param("pretty") == "1"));
    match clauses(headers).iter().find_map(whole) {
        Some((encoding, asked)) => {
            let pretty = pretty(headers, query, if asked { "1" } else { "" });
            Accept { encoding, shape: Shape::Whole, gzip: false, pretty }
        }
        None => Accept { pretty: true, ..Accept::plain() },
    }
}

/// Chooses among what the client accepts. `include` is the query's `includeObject`.
pub(crate) fn accept(headers: &HeaderMap, query: &crate::request::Query, offer: Offer) -> Result<Accept, Status> {
    let include = match query.get("includeObject") {
        "" | "Metadata" => Include::Metadata,
        "None" => Include::None,
        "Object" => Include::Object,
        other => {
            let message =
                format!("Unsupported value: {other:?}: supported values: \"\", \"Metadata\", \"None\", \"Object\"");
            let error = api::FieldError::new(api::status::FieldReason::NotSupported, "includeObject", message);
            return Err(Status::invalid("meta.k8s.io", "TableOptions", "", &[error]));
        }
    };
    for clause in clauses(headers) {
        if let (Some(encoding), Some(shape)) = (encoding(&clause), shape(&clause, include))
            && can(offer, encoding, &shape)
        {
            let pretty = pretty(headers, query, clause.param("pretty"));
            return Ok(Accept { encoding, shape, gzip: takes_gzip(headers), pretty });
        }
    }
    Err(Status::not_acceptable(OFFERED))
}

/// The same for a watch, which has no YAML.
pub(crate) fn stream(accept: Accept) -> Result<Accept, Status> {
    match accept.encoding {
        Encoding::Json | Encoding::Protobuf => Ok(accept),
        Encoding::Yaml => Err(Status::not_acceptable(OFFERED_STREAMS)),
    }
}

fn can(offer: Offer, encoding: Encoding, shape: &Shape) -> bool {
    match (encoding, shape) {
        (_, Shape::Table { .. } | Shape::Partial { .. }) if offer == Offer::Whole => false,
        (Encoding::Json | Encoding::Yaml, _) => true,
        (Encoding::Protobuf, Shape::Table { .. }) => false,
        (Encoding::Protobuf, Shape::Partial { .. }) => true,
        (Encoding::Protobuf, Shape::Whole) => offer != Offer::Custom,
    }
}

/// Whether JSON is shown on many lines: as asked, else for browsers and the tools of a shell.
fn pretty(headers: &HeaderMap, query: &crate::request::Query, param: &str) -> bool {
    if param == "1" {
        return true;
    }
    if !query.get("pretty").is_empty() {
        return query.is("pretty");
    }
    let agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or("");
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|tool| agent.starts_with(tool))
}

/// The encoding that a range names.
pub(crate) fn encoding(clause: &Clause<'_>) -> Option<Encoding> {
    match clause.media {
        "application/json" | "*/*" | "application/*" => Some(Encoding::Json),
        "application/yaml" => Some(Encoding::Yaml),
        PROTOBUF => Some(Encoding::Protobuf),
        _ => None,
    }
}

fn shape(clause: &Clause<'_>, include: Include) -> Option<Shape> {
    let version = || Some(clause.param("v").to_owned()).filter(|v| matches!(v.as_str(), "v1" | "v1beta1"));
    match (clause.param("as"), clause.param("g")) {
        ("", _) => Some(Shape::Whole),
        ("Table", "meta.k8s.io") => Some(Shape::Table { version: version()?, include }),
        ("PartialObjectMetadata", "meta.k8s.io") => Some(Shape::Partial { version: version()?, list: false }),
        ("PartialObjectMetadataList", "meta.k8s.io") => Some(Shape::Partial { version: version()?, list: true }),
        _ => None,
    }
}

pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
    let gzip = |coding: &str| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
        name.trim() == "gzip" && weight.is_ok_and(|q| q > 0.0)
    };
    values.flat_map(|v| v.split(',')).any(gzip)
}

/// How a body that was sent is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Json,
    Yaml,
    /// client-go sends built-in kinds so.
    Protobuf,
}

/// How the body of a create or an update is encoded.
pub(crate) fn body(headers: &HeaderMap) -> Result<Sent, Status> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    match media_type(value).as_deref() {
        Some("" | "application/json") => Ok(Sent::Json),
        Some("application/yaml") => Ok(Sent::Yaml),
        Some(PROTOBUF) => Ok(Sent::Protobuf),
        Some(_) | None => Err(Status::unsupported_media_type(OFFERED)),
    }
}

/// The media type of a header in lower case; `None` where its parameters are malformed.
fn media_type(value: &str) -> Option<String> {
    let (media, params) = value.split_once(';').unwrap_or((value, ""));
    let mut params: Vec<&str> = params.split(';').map(str::trim).collect();
    // The last one may be empty.
    if params.last().is_some_and(|p| p.is_empty()) {
        params.pop();
    }
    let well = |p: &&str| p.split_once('=').is_some_and(|(key, value)| !key.trim().is_empty() && !value.is_empty());
    let named = value.is_empty() || !media.trim().is_empty();
    (named && params.iter().all(well)).then(|| media.trim().to_ascii_lowercase())
}

/// The media type of the body, without its parameters.
pub(crate) fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Query;

    /// accept header => encoding shape, or the code of the refusal
    const CASES: &str = "
        application/json => Json Whole
        */* => Json Whole
        application/yaml => Yaml Whole
        application/yaml;q=0.5,application/json => Json Whole
        application/vnd.kubernetes.protobuf,application/json => Protobuf Whole
        application/vnd.kubernetes.protobuf;q=0.2,application/json;q=0.3 => Json Whole
        application/vnd.kubernetes.protobuf => Protobuf Whole
        application/vnd.kubernetes.protobuf;stream=watch => Protobuf Whole
        application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io => Protobuf Partial v1
        application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io => 406
        application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1;g=meta.k8s.io => Json Table v1
        */*,application/yaml => Yaml Whole
        application/json;q=0,application/yaml => Yaml Whole
        application/yaml;q=0,application/json;q=x => Yaml Whole
        application/*,application/yaml;q=0.1 => Yaml Whole
        application/json;q=0 => Json Whole
        application/xml => 406
        application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json => Json Table v1
        application/json;as=Table;v=v2;g=meta.k8s.io,application/json => Json Whole
        application/json;as=Foo;v=v1;g=meta.k8s.io => 406
        application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io => Json PartialList v1
        application/json;stream=watch => Json Whole
    ";

    #[test]
    fn the_best_offered_form_is_chosen() {
        for case in CASES.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let (header, expected) = case.split_once(" => ").expect("a case has two sides");
            let headers = HeaderMap::from_iter([(header::ACCEPT, header.parse().expect("a header"))]);
            let got = match accept(&headers, &Query::default(), Offer::Types) {
                Err(status) => status.code.to_string(),
                Ok(Accept { encoding, shape, .. }) => match shape {
                    Shape::Whole => format!("{encoding:?} Whole"),
                    Shape::Table { version, .. } => format!("{encoding:?} Table {version}"),
                    Shape::Partial { version, list: true } => format!("{encoding:?} PartialList {version}"),
                    Shape::Partial { version, list: false } => format!("{encoding:?} Partial {version}"),
                },
            };
            assert_eq!(got, expected, "{header}");
        }
    }

    #[test]
    fn gzip_is_for_those_who_give_it_a_weight() {
        for (value, taken) in [("deflate, gzip", true), ("gzip;q=0.5", true), ("gzip;q=0", false), ("br", false)] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, value.parse().expect("a header"))]);
            assert_eq!(takes_gzip(&headers), taken, "{value}");
        }
    }

    #[test]
    fn no_header_takes_json() {
        assert_eq!(accept(&HeaderMap::new(), &Query::default(), Offer::Types), Ok(Accept::plain()));
    }

    #[test]
    fn custom_kinds_have_protobuf_for_their_metadata_alone() {
        let with = |value: &str| HeaderMap::from_iter([(header::ACCEPT, value.parse().expect("a header"))]);
        let both = with("application/vnd.kubernetes.protobuf,application/json");
        assert_eq!(accept(&both, &Query::default(), Offer::Custom).map(|a| a.encoding), Ok(Encoding::Json));
        let partial = with("application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io");
        assert_eq!(accept(&partial, &Query::default(), Offer::Custom).map(|a| a.encoding), Ok(Encoding::Protobuf));
        assert!(accept(&partial, &Query::default(), Offer::Whole).is_err());
    }

    #[test]
    fn routes_refuse_what_they_do_not_produce() {
        let with = |value: &str| HeaderMap::from_iter([(header::ACCEPT, value.parse().expect("a header"))]);
        for (asked, route, taken) in [
            ("application/json;q=0", Route::Objects, true),
            ("application/*", Route::Objects, false),
            ("APPLICATION/JSON", Route::Objects, false),
            ("text/plain, */*;q=0.1", Route::Json, true),
            ("application/yaml", Route::Json, false),
            ("application/json", Route::Keys, false),
            ("", Route::Keys, true),
        ] {
            assert_eq!(routed(&with(asked), route).is_ok(), taken, "{asked}");
        }
    }

    #[test]
    fn errors_are_shown_whole() {
        let with = |value: &str| HeaderMap::from_iter([(header::ACCEPT, value.parse().expect("a header"))]);
        for (asked, encoding, pretty) in [
            ("application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", Encoding::Json, true),
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/yaml", Encoding::Yaml, false),
            ("text/html", Encoding::Json, true),
            ("application/*", Encoding::Json, false),
        ] {
            let got = of_errors(&with(asked), &Query::default());
            assert_eq!((got.encoding, got.pretty), (encoding, pretty), "{asked}");
        }
    }

    #[test]
    fn bodies_name_their_type() {
        for (value, sent) in [
            ("", Some(Sent::Json)),
            ("APPLICATION/JSON; charset=latin1", Some(Sent::Json)),
            ("application/yaml;", Some(Sent::Yaml)),
            ("application/json;foo", None),
            ("application/json;;", None),
            (";", None),
            ("text/json", None),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, value.parse().expect("a header"))]);
            assert_eq!(body(&headers).ok(), sent, "{value}");
        }
    }

    #[test]
    fn people_get_lines() {
        let agent = |name: &str| HeaderMap::from_iter([(header::USER_AGENT, name.parse().expect("a header"))]);
        for (headers, param, expected) in [
            (agent("curl/8.0"), "", true),
            (agent("kubectl/v1.33"), "", false),
            (agent("kubectl/v1.33"), "1", true),
            (HeaderMap::new(), "", false),
        ] {
            assert_eq!(pretty(&headers, &Query::default(), param), expected);
        }
    }
}
