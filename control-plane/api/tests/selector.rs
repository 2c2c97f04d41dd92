//! Selectors, as data: what matches, what is refused and in which words.

use api::codec::json;
use api::selector::{FieldSelector, LabelSelector};
use api::{Object, kinds};

fn object(text: &str) -> Object {
    json::decode(text.as_bytes()).expect("json").value.to_typed().expect("an object")
}

#[test]
fn label_selectors_match() {
    let x = object(r#"{"metadata":{"labels":{"a":"1","e/f":"","tier":"web"}}}"#);
    let cases = [
        ("", true),
        ("a=1", true),
        ("a==1,tier=web", true),
        ("a!=1", false),
        ("b!=1", true),
        ("a in (1,2)", true),
        ("a notin (1)", false),
        ("b notin (1)", true),
        ("a", true),
        ("!a", false),
        ("!b", true),
        ("e/f=", true),
        ("e/f in ()", true),
        ("e/f in (,x)", true),
        ("a>0", true),
        ("a>1", false),
        ("a<2", true),
        ("tier>0", false),
        ("in=in", false),
        ("  a  =  1  ", true),
    ];
    for (text, expected) in cases {
        let selector = LabelSelector::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(selector.matches_object(&x), expected, "{text}");
        let again = LabelSelector::parse(&selector.to_string()).expect("what was printed");
        assert_eq!(again, selector, "{text}");
    }
}

#[test]
fn label_selectors_of_objects_match() {
    let labels = json::decode(br#"{"a":"1","b":"2"}"#).expect("json").value;
    let cases = [
        ("null", false),
        ("{}", true),
        (r#"{"matchLabels":{"a":"1"}}"#, true),
        (r#"{"matchLabels":{"a":"2"}}"#, false),
        (r#"{"matchLabels":{"a":"1"},"matchExpressions":[{"key":"b","operator":"In","values":["2","3"]}]}"#, true),
        (r#"{"matchExpressions":[{"key":"c","operator":"DoesNotExist"},{"key":"b","operator":"Exists"}]}"#, true),
        (r#"{"matchExpressions":[{"key":"b","operator":"NotIn","values":["2"]}]}"#, false),
    ];
    for (text, expected) in cases {
        let selector = LabelSelector::from_value(&json::decode(text.as_bytes()).expect("json").value).expect(text);
        assert_eq!(selector.matches_labels(Some(&labels)), expected, "{text}");
    }
    let bad = json::decode(br#"{"matchExpressions":[{"key":"b","operator":"Is"}]}"#).expect("json").value;
    let error = LabelSelector::from_value(&bad).expect_err("an operator");
    assert_eq!(error.to_string(), "\"Is\" is not a valid label selector operator");
}

#[test]
fn selectors_are_refused_in_upstreams_words() {
    let cases = [
        ("par in (odd", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        (",", "found ',', expected: !, identifier, or 'end of string'"),
        ("par notin", "unable to parse requirement: found '' expected: '('"),
        ("a=b,", "found '', expected: identifier after ','"),
        ("a=b)", "found ')', expected: ',' or 'end of string'"),
        (
            "a>x",
            "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(LabelSelector::parse(text).expect_err(text).to_string(), expected, "{text}");
    }
    let cases = [
        ("metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
        ("a=1,b>x", "invalid selector: 'a=1,b>x'; can't understand 'b>x'"),
        (r"a=\x", r"invalid field selector: invalid escape sequence: \x"),
    ];
    for (text, expected) in cases {
        assert_eq!(FieldSelector::parse(text).expect_err(text).to_string(), expected, "{text}");
    }
    let cases = [
        ("pods", "spec.foo", "field label not supported: spec.foo"),
        (
            "configmaps",
            "data",
            "\"data\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
    ];
    for (plural, field, expected) in cases {
        let kind = kinds::find("", "v1", plural).expect("a kind");
        let selector = FieldSelector::parse(&format!("{field}=x")).expect("a selector");
        assert_eq!(selector.check(kind).expect_err(field).message, expected);
    }
}

#[test]
fn field_selectors_match() {
    let pod = object(
        r#"{"metadata":{"name":"x","namespace":"n"},"spec":{"nodeName":"a,b","hostNetwork":true},"status":{"phase":"Running"}}"#,
    );
    let cases = [
        ("", true),
        ("metadata.name=x,metadata.namespace==n", true),
        ("metadata.name!=x", false),
        (r"spec.nodeName=a\,b", true),
        ("status.phase=Running,spec.hostNetwork=true,", true),
        ("status.podIP=", true),
        ("status.phase!=Running", false),
    ];
    let kind = kinds::find("", "v1", "pods").expect("pods");
    for (text, expected) in cases {
        let selector = FieldSelector::parse(text).expect(text);
        selector.check(kind).expect(text);
        assert_eq!(selector.matches_object(kind, &pod), expected, "{text}");
    }
}
