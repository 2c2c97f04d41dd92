//! JSON and YAML, as data: what is read, how it is printed, what is refused.

use api::codec::{json, yaml};
use api::{Object, Value};

#[test]
fn json_reads_and_prints() {
    let cases = [
        (r#"{"b":1,"a":[true,null,"x"]}"#, r#"{"a":[true,null,"x"],"b":1}"#),
        (
            r#"[1,1.0,1.5,-0,1e3,9223372036854775807,9223372036854775808]"#,
            r#"[1,1,1.5,0,1000,9223372036854775807,9223372036854776000]"#,
        ),
        (r#"[1e21,1e-7,1.25e-10]"#, r#"[1e+21,1e-7,1.25e-10]"#),
        (r#""\u00e9\ud83d\ude00\ud83d\n\/""#, "\"é😀\u{fffd}\\n/\""),
        (" {} ", "{}"),
        (r#""""#, r#""""#),
        ("\"\\u0001\\u007f<&>\"", "\"\\u0001\u{7f}<&>\""),
    ];
    for (input, expected) in cases {
        let decoded = json::decode(input.as_bytes()).unwrap_or_else(|e| panic!("{input}: {e}"));
        assert_eq!(String::from_utf8(json::encode(&decoded.value)).expect("text"), expected, "{input}");
        let again = json::decode(expected.as_bytes()).expect("what was printed").value;
        assert_eq!(json::encode(&again), expected.as_bytes(), "{input}");
    }
}

#[test]
fn json_is_refused_in_gos_words() {
    let cases = [
        (r#"{"a":"#, "unexpected end of JSON input"),
        ("", "unexpected end of JSON input"),
        ("{a:1}", "invalid character 'a' looking for beginning of object key string"),
        ("[1 2]", "invalid character '2' after array element"),
        ("{} x", "invalid character 'x' after top-level value"),
        ("nul", "unexpected end of JSON input"),
        ("nulx", "invalid character 'x' in literal null (expecting 'l')"),
        ("[01]", "invalid character '1' after array element"),
        ("\"\n\"", "invalid character '\\n' in string literal"),
        (r#"{"a":1,}"#, "invalid character '}' looking for beginning of object key string"),
        ("1e999", "json: cannot unmarshal number 1e999 into Go value of type float64"),
    ];
    for (input, expected) in cases {
        assert_eq!(json::decode(input.as_bytes()).expect_err(input).message, expected, "{input}");
    }
    assert!(json::decode(b"\"\xff\"").is_err(), "text that is not UTF-8");
    let deep = "[".repeat(100_000);
    assert_eq!(json::decode(deep.as_bytes()).expect_err("deep").message, "exceeded max depth");
}

#[test]
fn duplicates_are_named_in_document_order() {
    let text = br#"{"z":1,"data":{"a":"1","a":"2"},"l":[{"k":1,"k":2}],"data":{},"z":2}"#;
    let mut decoded = json::decode(text).expect("json");
    assert_eq!(json::encode(&decoded.value), br#"{"data":{"a":"2"},"l":[{"k":2}],"z":2}"#);
    json::sort_paths(text, &mut decoded.duplicates);
    assert_eq!(decoded.duplicates, ["z", "data", "data.a", "l[0].k"]);
    let yaml = yaml::decode(b"a: 1\nb: {c: 1, c: 2}\na: 2\n").expect("yaml");
    assert_eq!(yaml.duplicates, ["line 2: key \"c\" already set in map", "line 3: key \"a\" already set in map"]);
}

#[test]
fn yaml_reads_as_kubectl_does() {
    let cases = [
        ("mode: 0644", r#"{"mode":420}"#),
        ("mode: 0o644", r#"{"mode":420}"#),
        ("a: 0x1F\nb: 0b11\nc: 1_000\nd: 08", r#"{"a":31,"b":3,"c":1000,"d":8}"#),
        ("a: yes\nb: on\nc: No\nd: 'yes'\ne: !!str yes", r#"{"a":true,"b":true,"c":false,"d":"yes","e":"yes"}"#),
        ("a: ~\nb:\nc: null\nd: \"\"", r#"{"a":null,"b":null,"c":null,"d":""}"#),
        ("a: 1.5\nb: 1e3\nc: 1.2.3\nd: 10.0.0.1\ne: 1h", r#"{"a":1.5,"b":1000,"c":"1.2.3","d":"10.0.0.1","e":"1h"}"#),
        ("1: a\ntrue: b", r#"{"1":"a","true":"b"}"#),
        ("x: &a {k: v}\nw: *a\nz:\n  <<: *a\n  l: m", r#"{"w":{"k":"v"},"x":{"k":"v"},"z":{"k":"v","l":"m"}}"#),
        ("a: |\n  x\n  y\nb: >-\n  x\n  y", r#"{"a":"x\ny\n","b":"x y"}"#),
        ("t: 2001-01-01T00:00:00Z", r#"{"t":"2001-01-01T00:00:00Z"}"#),
        ("# nothing\n", "null"),
        ("a: 1\n---\nb: 2", r#"{"a":1}"#),
        (r#"{"a": [1, "b"]}"#, r#"{"a":[1,"b"]}"#),
    ];
    for (input, expected) in cases {
        let decoded = yaml::decode(input.as_bytes()).unwrap_or_else(|e| panic!("{input}: {e}"));
        assert_eq!(String::from_utf8_lossy(&json::encode(&decoded.value)), expected, "{input}");
    }
}

#[test]
fn yaml_prints_what_it_reads_back() {
    let text = r##"{"a":{"b":[{"c":1,"d":[]},"x",[1,[2]],{}],"e":"yes","f":"a: b","g":"l1\nl2\n","h":"l1\n\n  l2","i":" x","j":""},
        "k":null,"l":1.5,"m":"0644","n":"it's #1","o":"-x","p":"- x","q":"a\tb","r":"#","s":"x\n\n","t":"\u0001","u: v":true,"1":2,
        "v":"tt \n","w":"a \nb","x":"\na","y":"\n","z":" a\nb","two\nlines":"a\n b \n","tabbed":"\ta\nb"}"##;
    let value = json::decode(text.as_bytes()).expect("json").value;
    let printed = String::from_utf8(yaml::encode(&value)).expect("text");
    let back = yaml::decode(printed.as_bytes()).unwrap_or_else(|e| panic!("{printed}: {e}"));
    assert_eq!(back.value, value, "{printed}");
    let times =
        json::decode(br#"{"a":"2026-01-02T03:04:05Z","b":"2026-01-02","c":"12:30","d":"2026-a"}"#).expect("json");
    let expected = "a: \"2026-01-02T03:04:05Z\"\nb: \"2026-01-02\"\nc: \"12:30\"\nd: 2026-a\n";
    assert_eq!(String::from_utf8_lossy(&yaml::encode(&times.value)), expected);
    let pod = json::decode(br#"{"spec":{"containers":[{"args":["a"],"name":"c"}]},"kind":"Pod"}"#).expect("json").value;
    let expected = "kind: Pod\nspec:\n  containers:\n  - args:\n    - a\n    name: c\n";
    assert_eq!(String::from_utf8_lossy(&yaml::encode(&pod)), expected);
}

#[test]
fn yaml_bombs_are_refused() {
    let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for i in 1..9 {
        let alias = format!("*a{}", i - 1);
        text.push_str(&format!("a{i}: &a{i} [{}]\n", [alias.as_str(); 10].join(",")));
    }
    assert!(yaml::decode(text.as_bytes()).expect_err("a bomb").message.contains("excessive aliasing"));
    assert!(yaml::decode("[".repeat(50_000).as_bytes()).is_err());
}

#[test]
fn typed_views_go_there_and_back() {
    use k8s_openapi::api::core::v1::Pod;
    let text = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","creationTimestamp":"2026-01-02T03:04:05Z","labels":{"a":"b"}},
        "spec":{"containers":[{"name":"c","ports":[{"containerPort":80}],"livenessProbe":{"httpGet":{"port":"http"}},
        "resources":{"limits":{"cpu":"1"}}}],"volumes":[{"name":"v","emptyDir":{}}],"terminationGracePeriodSeconds":30}}"#;
    let value = json::decode(text).expect("json").value;
    let pod: Pod = value.to_typed().expect("a pod");
    assert_eq!(pod.spec.as_ref().expect("spec").containers[0].name, "c");
    assert_eq!(Value::from_typed(&pod).expect("a value"), value);
    let object = Object::from_typed(&pod).expect("an object");
    assert_eq!(object.to_typed::<Pod>().expect("a pod"), pod);
    assert!(Value::from(5).to_typed::<Pod>().is_err());
}
