//! The tables of `cases/`: expressions with what they give, how they fail, what is wrong with them, what they cost.
//! `UPDATE_CASES=1` is not offered: what stands there comes from the documentation, not from us.

use crate::library::convert::plain;
use crate::value::Val;
use crate::{Binding, Data, Decl, Environment, Identity, View, limits};
use serde_json::{Map, Value, json};
use std::sync::Arc;

impl Data for Value {
    fn view(&self) -> View<'_> {
        match self {
            Value::Null => View::Null,
            Value::Bool(b) => View::Bool(*b),
            Value::Number(n) => match n.as_i64() {
                Some(n) => View::Int(n),
                None => View::Double(n.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(s) => View::String(s),
            Value::Array(items) => View::List(items.len()),
            Value::Object(map) => View::Map(map.len()),
        }
    }

    fn item(&self, index: usize) -> Option<&dyn Data> {
        self.as_array()?.get(index).map(|v| v as &dyn Data)
    }

    fn member(&self, name: &str) -> Option<&dyn Data> {
        self.as_object()?.get(name).map(|v| v as &dyn Data)
    }

    fn entry(&self, index: usize) -> Option<(&str, &dyn Data)> {
        self.as_object()?.iter().nth(index).map(|(k, v)| (k.as_str(), v as &dyn Data))
    }
}

/// A schema of a table as a declaration.
fn decl(schema: &Value) -> Arc<Decl> {
    let number = |name: &str| schema.get(name).and_then(Value::as_u64);
    if schema.get("x-kubernetes-int-or-string").is_some() {
        return Decl::int_or_string(number("maxLength"));
    }
    match (schema["type"].as_str().unwrap_or(""), schema["format"].as_str().unwrap_or("")) {
        ("boolean", _) => Decl::bool(),
        ("integer", _) => Decl::int(),
        ("number", _) => Decl::double(),
        ("string", "byte") => Decl::bytes(number("maxLength")),
        ("string", "duration") => Decl::duration(),
        ("string", "date") => Decl::date(),
        ("string", "date-time") => Decl::date_time(),
        ("string", _) => Decl::string(number("maxLength"), None),
        ("array", _) => {
            let identity = match schema["x-kubernetes-list-type"].as_str() {
                Some("set") => Identity::Value,
                Some("map") => Identity::Keys(
                    schema["x-kubernetes-list-map-keys"]
                        .as_array()
                        .expect("keys")
                        .iter()
                        .map(|k| k.as_str().expect("a key").to_owned())
                        .collect(),
                ),
                _ => Identity::Place,
            };
            Decl::list(decl(&schema["items"]), number("maxItems"), identity)
        }
        ("object", _) => match schema.get("additionalProperties") {
            Some(values) => Decl::map(decl(values), number("maxProperties")),
            None => {
                let none = Map::new();
                let properties = schema["properties"].as_object().unwrap_or(&none);
                Decl::object("object", properties.iter().map(|(k, v)| (k.clone(), decl(v), false)))
            }
        },
        _ => Decl::any(),
    }
}

fn shown(value: &Val<'_>) -> Value {
    if let Some(items) = value.items() {
        return items.iter().map(|i| shown(&i.expect("an item"))).collect();
    }
    if let Some(entries) = value.entries() {
        let entries = entries.expect("entries").into_iter();
        return Value::Object(entries.map(|(k, v)| (plain(&k), shown(&v))).collect());
    }
    match value {
        Val::Null => Value::Null,
        Val::Bool(b) => json!(b),
        Val::Int(n) => json!(n),
        Val::Uint(n) => json!(format!("{n}u")),
        Val::Double(n) if n.is_finite() => json!(n),
        Val::Optional(Some(held)) => json!({ "some": shown(held) }),
        Val::Optional(None) => json!("none"),
        other => json!(plain(other)),
    }
}

fn patch() -> Arc<Decl> {
    let text = || Decl::string(None, None);
    let fields = [("op", text()), ("path", text()), ("from", text()), ("value", Decl::any())];
    Decl::object("JSONPatch", fields.map(|(name, decl)| (name.to_owned(), decl, false)))
}

/// What a case comes to, in the form in which tables say it.
fn outcome(case: &Value, schema: &Value, data: &Value) -> Value {
    let source = case["expr"].as_str().expect("an expression");
    let root = decl(schema);
    let optional = case.get("optional").is_some();
    let environment = Environment::default().with("self", root.clone(), false).with("oldSelf", root.clone(), optional);
    let environment = match case.get("messages") {
        Some(_) => environment.with_message(&patch()).with_open_message("Object"),
        None => environment,
    };
    let program = match environment.compile(source) {
        Ok(program) => program,
        Err(e) => {
            let told = e.to_string();
            // Tables say the place and the message; `text` says all of it.
            let first = told.lines().next().expect("a line").trim_start_matches("ERROR: <input>:").to_owned();
            return match case.get("text") {
                Some(_) => json!({ "text": told }),
                None => json!({ "wrong": first }),
            };
        }
    };
    if let Err(why) = program.check_constants() {
        return json!({ "constant": why });
    }
    let old = match case.get("oldSelf") {
        Some(old) => Binding::Value(old),
        None if optional => Binding::None,
        None => Binding::Unset,
    };
    program.evaluate(&[Binding::Value(data), old], limits::PER_CALL, |outcome| {
        let mut out = match outcome.result {
            Ok(value) => json!({ "is": shown(&value) }),
            Err(fail) => json!({ "fails": fail.to_string() }),
        };
        if case.get("cost").is_some() {
            out["cost"] = json!(outcome.cost);
        }
        if case.get("estimate").is_some() {
            out["estimate"] = json!(program.estimate(Some(&root)).max);
        }
        if case.get("type").is_some() {
            out["type"] = json!(program.result_type().to_string());
        }
        out
    })
}

#[test]
fn tables_hold() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut wrong = Vec::new();
    let mut count = 0;
    for file in std::fs::read_dir(folder).expect("the tables") {
        let path = file.expect("a table").path();
        let text = std::fs::read_to_string(&path).expect("a table");
        let table: Value = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for case in table["cases"].as_array().expect("cases") {
            count += 1;
            let schema = case.get("schema").or(table.get("schema")).cloned().unwrap_or(json!({}));
            let data = case.get("self").or(table.get("self")).cloned().unwrap_or(Value::Null);
            let found = outcome(case, &schema, &data);
            let inputs = ["expr", "schema", "self", "oldSelf", "optional", "messages"];
            let mut wanted = case.clone();
            wanted.as_object_mut().expect("a case").retain(|k, _| !inputs.contains(&k.as_str()));
            if found != wanted {
                let name = path.file_name().expect("a name").to_string_lossy();
                wrong.push(format!("{name}: {}\n   wanted {wanted}\n   found  {found}", case["expr"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count} cases:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 150, "only {count} cases were found");
}

#[test]
fn deep_and_long_expressions_end() {
    let environment = Environment::default().with("self", Decl::any(), false);
    let deep = [
        "(".repeat(100_000),
        format!("{}1{}", "(".repeat(124), ")".repeat(124)),
        format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000)),
        format!("self{}", ".a".repeat(20_000)),
        format!("self{}", ".a".repeat(249)),
        format!("1{}", " + 1".repeat(20_000)),
        format!("true{}", " ? true : false".repeat(10_000)),
        format!("true{}", " && true".repeat(5_000)),
        "!".repeat(50_000),
        format!("{}1", "-".repeat(50_000)),
        format!("{}true{}", "[1].all(x, ".repeat(40), ")".repeat(40)),
        format!("optional.of(1){}", ".optMap(x, x)".repeat(80)),
        "x".repeat(200_000),
    ];
    for source in &deep {
        // Compiling and evaluating come to an end; on what, does not matter.
        if let Ok(program) = environment.compile(source) {
            program.estimate(None);
            program.evaluate(&[Binding::Value(&Value::Null)], limits::PER_CALL, |outcome| {
                assert!(outcome.cost <= 2 * limits::PER_CALL);
            });
        }
    }
}

#[test]
fn costs_end_an_evaluation() {
    let items: Value = (0..2_000).collect();
    let environment =
        Environment::default().with("self", decl(&json!({"type": "array", "items": {"type": "integer"}})), false);
    let program = environment.compile("self.all(x, self.all(y, x + y >= 0))").expect("it compiles");
    program.evaluate(&[Binding::Value(&items)], limits::PER_CALL, |outcome| {
        assert_eq!(outcome.result.map(|_| ()), Err(crate::Fail::CostLimit));
        assert!(outcome.cost < limits::PER_CALL + 10_000);
    });
}

/// Whatever people write is an error or a program, never a panic.
#[test]
fn broken_expressions_are_errors() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let text = std::fs::read_to_string(folder.join("libraries.yaml")).expect("a table");
    let table: Value = serde_saphyr::from_str(&text).expect("a table");
    let environment = Environment::default().with("self", Decl::any(), false);
    // A small generator of our own: the same cases each time.
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % below.max(1) as u64).expect("a small number")
    };
    let signs: Vec<char> = "()[]{}.,:?!&|+-*/%<>='\"\\`0u1xrb\u{e9}\n".chars().collect();
    for case in table["cases"].as_array().expect("cases") {
        let source: Vec<char> = case["expr"].as_str().expect("an expression").chars().collect();
        for _ in 0..4 {
            let mut broken = source.clone();
            for _ in 0..=next(2) {
                let at = next(broken.len());
                match next(3) {
                    0 if broken.len() > 1 => drop(broken.remove(at)),
                    1 => broken[at] = signs[next(signs.len())],
                    _ => broken.insert(at, signs[next(signs.len())]),
                }
            }
            let broken: String = broken.into_iter().collect();
            if let Ok(program) = environment.compile(&broken) {
                program.estimate(None);
                program.evaluate(&[Binding::Value(&Value::Null)], limits::PER_CALL, |outcome| {
                    assert!(outcome.cost <= 2 * limits::PER_CALL, "{broken}");
                });
            }
        }
    }
}
