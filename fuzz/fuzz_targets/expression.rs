//! No expression makes the compiler, the estimator or the evaluator panic, overflow the stack or run without end.

#![no_main]

use expr::{Binding, Data, Decl, Environment, Identity, View, limits};

/// A small object that expressions can look into.
enum Sample {
    Int(i64),
    Text(&'static str),
    List(Vec<Sample>),
    Map(Vec<(&'static str, Sample)>),
}

impl Data for Sample {
    fn view(&self) -> View<'_> {
        match self {
            Sample::Int(n) => View::Int(*n),
            Sample::Text(text) => View::String(text),
            Sample::List(items) => View::List(items.len()),
            Sample::Map(entries) => View::Map(entries.len()),
        }
    }

    fn item(&self, index: usize) -> Option<&dyn Data> {
        match self {
            Sample::List(items) => items.get(index).map(|i| i as &dyn Data),
            _ => None,
        }
    }

    fn member(&self, name: &str) -> Option<&dyn Data> {
        match self {
            Sample::Map(entries) => entries.iter().find(|(k, _)| *k == name).map(|(_, v)| v as &dyn Data),
            _ => None,
        }
    }

    fn entry(&self, index: usize) -> Option<(&str, &dyn Data)> {
        match self {
            Sample::Map(entries) => entries.get(index).map(|(k, v)| (*k, v as &dyn Data)),
            _ => None,
        }
    }
}

libfuzzer_sys::fuzz_target!(|source: &str| {
    let list = Decl::list(Decl::int(), Some(10), Identity::Value);
    let fields = [
        ("n".to_owned(), Decl::int(), false),
        ("s".to_owned(), Decl::string(Some(10), None), false),
        ("l".to_owned(), list, false),
        ("any".to_owned(), Decl::any(), false),
    ];
    let root = Decl::object("object", fields);
    let environment = Environment::default().with("self", root.clone(), false).with("object", Decl::any(), false);
    let Ok(program) = environment.compile(source) else { return };
    program.estimate(Some(&root));
    let sample = Sample::Map(vec![
        ("n", Sample::Int(7)),
        ("s", Sample::Text("h\u{e9}llo")),
        ("l", Sample::List(vec![Sample::Int(1), Sample::Int(2)])),
        ("any", Sample::Map(vec![("x", Sample::Text("10%"))])),
    ]);
    let bindings = [Binding::Value(&sample), Binding::Value(&sample)];
    program.evaluate(&bindings, limits::PER_CALL, |outcome| assert!(outcome.cost < 100 * limits::PER_CALL));
});
