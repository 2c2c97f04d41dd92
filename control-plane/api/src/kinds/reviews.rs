//! Requests about identity and access that are answered and never stored.

use super::{names, texts};
use crate::kind::{Kind, Scope};
use std::borrow::Cow;

pub static SELF_SUBJECT_REVIEW: Kind = Kind {
    names: names!(
        "authentication.k8s.io",
        "v1",
        "SelfSubjectReview",
        "selfsubjectreviews",
        "selfsubjectreview",
        [],
        []
    ),
    type_name: Cow::Borrowed("io.k8s.api.authentication.v1.SelfSubjectReview"),
    scope: Scope::Cluster,
    verbs: texts!["create"],
    ..Kind::PLAIN
};

pub static TOKEN_REVIEW: Kind = Kind {
    names: names!("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", "tokenreview", [], []),
    type_name: Cow::Borrowed("io.k8s.api.authentication.v1.TokenReview"),
    scope: Scope::Cluster,
    verbs: texts!["create"],
    ..Kind::PLAIN
};

pub static LOCAL_SUBJECT_ACCESS_REVIEW: Kind = Kind {
    names: names!(
        "authorization.k8s.io",
        "v1",
        "LocalSubjectAccessReview",
        "localsubjectaccessreviews",
        "localsubjectaccessreview",
        [],
        []
    ),
    type_name: Cow::Borrowed("io.k8s.api.authorization.v1.LocalSubjectAccessReview"),
    verbs: texts!["create"],
    ..Kind::PLAIN
};

pub static SELF_SUBJECT_ACCESS_REVIEW: Kind = Kind {
    names: names!(
        "authorization.k8s.io",
        "v1",
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        "selfsubjectaccessreview",
        [],
        []
    ),
    type_name: Cow::Borrowed("io.k8s.api.authorization.v1.SelfSubjectAccessReview"),
    scope: Scope::Cluster,
    verbs: texts!["create"],
    ..Kind::PLAIN
};

pub static SELF_SUBJECT_RULES_REVIEW: Kind = Kind {
    names: names!(
        "authorization.k8s.io",
        "v1",
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
        "selfsubjectrulesreview",
        [],
        []
    ),
    type_name: Cow::Borrowed("io.k8s.api.authorization.v1.SelfSubjectRulesReview"),
    scope: Scope::Cluster,
    verbs: texts!["create"],
    ..Kind::PLAIN
};

pub static SUBJECT_ACCESS_REVIEW: Kind = Kind {
    names: names!(
        "authorization.k8s.io",
        "v1",
        "SubjectAccessReview",
        "subjectaccessreviews",
        "subjectaccessreview",
        [],
        []
    ),
    type_name: Cow::Borrowed("io.k8s.api.authorization.v1.SubjectAccessReview"),
    scope: Scope::Cluster,
    verbs: texts!["create"],
    ..Kind::PLAIN
};
