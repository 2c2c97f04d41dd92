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
