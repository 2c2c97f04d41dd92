//! What a client wants to get and what it sends: media types, shapes, compression.

use api::Status;
use api::status::Details;
use http::{HeaderMap, header};

/// The media types of objects, in the words of errors.
const OFFERED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
/// The same for watches.
const OFFERED_STREAMS: &str = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
const DOCUMENTS: &str = "application/json, application/yaml";

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
    /// Documents.
    Documents,
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
        let media = parts.next().filter(|m| !m.is_empty())?;
        let params: Vec<_> =
            parts.filter_map(|p| p.split_once('=')).map(|(k, v)| (k.trim(), v.trim().trim_matches('"'))).collect();
        let q = params.iter().find(|(k, _)| *k == "q").map_or(Some(1.0), |(_, v)| v.parse().ok())?;
        Some(Clause { media, params, q })
    }

    pub(crate) fn param(&self, key: &str) -> &'a str {
        self.params.iter().find(|(k, _)| *k == key).map_or("", |(_, v)| v)
    }
}

/// The ranges of the Accept header, best first; one that takes anything where there is no header, or nothing in it.
pub(crate) fn clauses(headers: &HeaderMap) -> Vec<Clause<'_>> {
    let mut clauses: Vec<_> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .filter_map(Clause::parse)
        .filter(|c| c.q > 0.0)
        .collect();
    if headers.get_all(header::ACCEPT).iter().all(|v| v.as_bytes().trim_ascii().is_empty()) {
        clauses.push(Clause { media: "*/*", params: Vec::new(), q: 1.0 });
    }
    // Of equal weight what is named comes before what stands for anything.
    clauses.sort_by(|a, b| b.q.total_cmp(&a.q).then_with(|| a.media.contains('*').cmp(&b.media.contains('*'))));
    clauses
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
    if clauses(headers).iter().all(|c| encoding(c).is_none()) {
        // No route produces any such type, which upstream's router answers.
        let message = format!("406: Not Acceptable\n\nAvailable representations: {OFFERED}");
        return Err(Status { details: Some(Details::default()), ..Status::new(406, "NotAcceptable", message) });
    }
    Err(Status::not_acceptable(if offer == Offer::Documents { DOCUMENTS } else { OFFERED }))
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
        (Encoding::Json | Encoding::Yaml, _) => true,
        (Encoding::Protobuf, Shape::Table { .. }) => false,
        (Encoding::Protobuf, Shape::Partial { .. }) => offer != Offer::Documents,
        (Encoding::Protobuf, Shape::Whole) => offer == Offer::Types,
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
    values.flat_map(|v| v.split(',')).filter_map(Clause::parse).any(|c| c.media == "gzip" && c.q > 0.0)
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
    match content_type(headers) {
        "" | "application/json" => Ok(Sent::Json),
        "application/yaml" => Ok(Sent::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(Sent::Protobuf),
        _ => Err(Status::unsupported_media_type(OFFERED)),
    }
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
        assert!(accept(&partial, &Query::default(), Offer::Documents).is_err());
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
