//! What a Service takes over, and which node ports it gets.

use super::service;
use api::{Object, Value};

fn object(value: Option<&Value>) -> Object {
    Object(value.and_then(Value::as_map).cloned().unwrap_or_default())
}

fn shown(object: &Object) -> String {
    String::from_utf8(api::codec::json::encode(&Value::Map(object.0.clone()))).unwrap()
}

#[test]
fn services_take_over_and_fill_in_as_the_cases_say() {
    let cases = api::codec::json::decode(include_bytes!("cases.json")).unwrap().value;
    for case in cases.as_list().unwrap() {
        let name = case.get("name").and_then(Value::as_str).unwrap();
        let mut new = object(case.get("new"));
        if let Some(old) = case.get("old") {
            service::inherit(&mut new, &object(Some(old)));
        }
        let mut next = 30_100;
        let free = |_: &[String]| {
            next += 1;
            Some(next)
        };
        let check = |port: &service::Port| (port.1 == 30_000).then(|| "provided port is already allocated".to_owned());
        let outcome = service::fill_ports(&mut new, free, check);
        match case.get("refused").and_then(Value::as_str) {
            Some(why) => assert_eq!(outcome.unwrap_err().to_string(), why, "{name}"),
            None => {
                assert_eq!(outcome, Ok(()), "{name}");
                assert_eq!(shown(&new), shown(&object(case.get("after"))), "{name}");
            }
        }
    }
}
