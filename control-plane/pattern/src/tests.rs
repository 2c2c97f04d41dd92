//! `cases/go.yaml`: patterns with what Go's parser says of them, and texts that they find or don't.

use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    pattern: String,
    /// Behind `error parsing regexp: `.
    wrong: Option<String>,
    #[serde(default)]
    finds: Vec<String>,
    #[serde(default)]
    misses: Vec<String>,
}

#[test]
fn patterns_are_read_as_go_reads_them() {
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("../cases/go.yaml")).expect("the cases");
    let mut failed = Vec::new();
    for case in cases {
        let told = match super::compile(&case.pattern, 1 << 20) {
            Err(e) => Some(e.to_string().replacen("error parsing regexp: ", "", 1)),
            Ok(regex) => {
                let missed = case.finds.iter().filter(|t| !regex.is_match(t)).map(|t| format!("misses {t:?}"));
                let found = case.misses.iter().filter(|t| regex.is_match(t)).map(|t| format!("finds {t:?}"));
                failed.extend(missed.chain(found).map(|what| format!("{:?} {what}", case.pattern)));
                None
            }
        };
        if told != case.wrong {
            failed.push(format!("{:?} says {told:?}, not {:?}", case.pattern, case.wrong));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn deep_patterns_are_compiled_or_refused_on_a_small_stack() {
    let compiled = |open: &str, close: &str, deep: usize| {
        let pattern = format!("{}a{}", open.repeat(deep), close.repeat(deep));
        let thread = std::thread::Builder::new().stack_size(1 << 20);
        let compiled = thread.spawn(move || super::compile(&pattern, 10 << 20).map(|found| found.is_match("a")));
        compiled.expect("a thread").join().expect("no end of the thread")
    };
    for (open, close) in [("(", ")"), ("(?:", ")"), ("(", ")?"), ("(?:b|", ")*"), ("(a|", ")")] {
        assert_eq!(compiled(open, close, 45), Ok(true), "{open}{close}");
        for deep in [60, 80, 120, 240, 500, 999, 5000] {
            if let Err(error) = compiled(open, close, deep) {
                assert!(error.to_string().contains("expression nests too deeply"), "{open}{close}: {error}");
            }
        }
    }
}
