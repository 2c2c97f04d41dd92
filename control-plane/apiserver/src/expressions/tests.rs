//! The tables of `tests/expressions/`: schemas and what is wrong with their rules, objects and what their rules say.

use super::definition;
use super::validate::SchemaRules;
use api::Object;
use api::kind::Rules;
use api::status::{FieldError, FieldReason};
use api::structural::Structural;
use api::value::Value;

fn table(name: &str) -> Vec<Value> {
    let path = format!("{}/tests/expressions/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read(&path).expect("the table");
    let table = api::codec::yaml::decode(&text).expect("YAML");
    table.value.get("cases").and_then(Value::as_list).expect("cases").to_vec()
}

fn lines(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(|e| format!("{} {}: {}", e.reason.cause(), e.path, e.message)).collect()
}

fn wanted(case: &Value) -> Vec<String> {
    let list = case.get("errors").and_then(Value::as_list).unwrap_or(&[]);
    list.iter().map(|e| e.as_str().expect("a text").to_owned()).collect()
}

/// What was found before the rules were looked at.
fn told(case: &Value) -> Vec<FieldError> {
    let reasons = [FieldReason::Invalid, FieldReason::TypeInvalid, FieldReason::Required];
    let list = case.get("told").and_then(Value::as_list).unwrap_or(&[]);
    let error = |told: &Value| {
        let text = |key: &str| told.get(key).and_then(Value::as_str).expect("a text");
        let reason = reasons.into_iter().find(|r| r.cause() == text("reason")).expect("a reason");
        FieldError::new(reason, text("path"), "")
    };
    list.iter().map(error).collect()
}

fn object(case: &Value, key: &str) -> Option<Object> {
    case.get(key).map(|v| Object(v.as_map().expect("an object").clone()))
}

#[test]
fn rules_of_definitions_are_judged() {
    for case in table("definitions") {
        let name = case.get("name").and_then(Value::as_str).expect("a name");
        let schema = Structural::parse(case.get("schema").expect("a schema")).expect("a schema");
        let mut errors = told(&case);
        let before = errors.len();
        definition::check(&schema, "schema", &mut errors);
        assert_eq!(lines(&errors[before..]), wanted(&case), "{name}");
    }
}

#[test]
fn rules_judge_objects() {
    for case in table("objects") {
        let name = case.get("name").and_then(Value::as_str).expect("a name");
        let schema = Structural::parse(case.get("schema").expect("a schema")).expect("a schema");
        let mut errors = told(&case);
        let before = errors.len();
        let new = object(&case, "object").expect("an object");
        SchemaRules::new(&schema).check(&new, object(&case, "old").as_ref(), &mut errors);
        assert_eq!(lines(&errors[before..]), wanted(&case), "{name}");
    }
}

#[test]
fn expressions_of_built_in_objects_are_judged() {
    for case in table("policies") {
        let text = |key: &str| case.get(key).and_then(Value::as_str).expect("a text");
        let holder = super::policies::Holder::of(text("group"), text("plural")).expect("a kind with expressions");
        let mut errors = Vec::new();
        holder.check(&object(&case, "object").expect("an object"), None, &mut errors);
        assert_eq!(lines(&errors), wanted(&case), "{}", text("name"));
    }
}
