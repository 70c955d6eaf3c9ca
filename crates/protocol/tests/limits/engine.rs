//! From a field's limits to bodies that keep and break them, and what is told of each.

use duo_protocol::contract::{Invalid, Loc};
use serde_json::{Value, json};

/// What may stand in a field. `need`: the body is refused without it.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A string of at most so many characters.
    Text {
        max: usize,
        need: bool,
    },
    /// A string without a limit of its own.
    AnyText {
        need: bool,
    },
    /// One of these strings.
    Word {
        of: &'static [&'static str],
        need: bool,
    },
    Flag,
    Whole {
        least: i64,
        most: i64,
    },
    Number {
        least: f64,
        most: f64,
    },
    Object {
        need: bool,
    },
    /// A list of objects like the first one of the base body.
    Objects {
        least: usize,
        most: usize,
        need: bool,
    },
    /// A list of strings of at most so many characters.
    Texts {
        least: usize,
        most: usize,
        max: usize,
    },
}
use Kind::{AnyText, Flag, Number, Object, Objects, Text, Texts, Whole, Word};

pub type Table<'a> = &'a [(&'static str, Kind)];

pub const fn text(max: usize) -> Kind {
    Text { max, need: false }
}

pub const fn needed(max: usize) -> Kind {
    Text { max, need: true }
}

/// A case: what to put, and the fault that it must be; nothing for a good value. A place below the field may be named.
type Case = (Value, Option<(&'static str, &'static str)>);

fn cases(kind: Kind, now: &Value) -> Vec<Case> {
    let wrong = |except: fn(&Value) -> bool, fault: &'static str| {
        let all = [json!("x"), json!(7), json!(1.5), json!(true), json!([]), json!([1]), json!({}), json!({"a": 1})];
        all.into_iter().filter(move |value| !except(value)).map(move |value| (value, Some(("", fault))))
    };
    let absent = |need: bool| (Value::Null, need.then_some(("", "missing")));
    let mut out: Vec<Case> = vec![(now.clone(), None)];
    match kind {
        Text { max, need } => {
            out.extend([(json!("é".repeat(max)), None), (json!("é".repeat(max + 1)), Some(("", "string_too_long")))]);
            out.extend([(json!(""), None), absent(need)]);
            out.extend(wrong(Value::is_string, "string_type"));
        }
        AnyText { need } => {
            out.extend([(json!("é".repeat(300_000)), None), absent(need)]);
            out.extend(wrong(Value::is_string, "string_type"));
        }
        Word { of, need } => {
            out.extend(of.iter().map(|word| (json!(word), None)));
            out.extend([(json!(format!("{}x", of[0])), Some(("", "enum"))), absent(need)]);
            out.extend(wrong(Value::is_string, "string_type"));
        }
        Flag => {
            out.extend([(json!(true), None), (json!(false), None), absent(false)]);
            out.extend(wrong(Value::is_boolean, "bool_type"));
        }
        Whole { least, most } => {
            out.extend([(json!(least), None), (json!(most), None), absent(false)]);
            out.push((json!(least - 1), Some(("", "greater_than_equal"))));
            out.extend([json!(most + 1), json!(u64::MAX)].map(|value| (value, Some(("", "less_than_equal")))));
            out.extend(wrong(|value| value.is_i64(), "int_type"));
        }
        Number { least, most } => {
            out.extend([(json!(least), None), (json!(most), None), absent(false)]);
            out.extend([json!(least - 0.1), json!(most + 0.1)].map(|value| (value, Some(("", "less_than_equal")))));
            out.extend(wrong(Value::is_number, "float_type"));
        }
        Object { need } => {
            out.push(absent(need));
            out.extend(wrong(Value::is_object, "dict_type"));
        }
        Objects { least, most, need } => {
            let items = |count: usize| json!(vec![now[0].clone(); count]);
            out.extend([(items(most), None), (items(most + 1), Some(("", "too_long"))), absent(need)]);
            if least > 0 {
                out.extend([(items(least), None), (items(least - 1), Some(("", "too_short")))]);
            } else {
                out.push((json!([]), None));
            }
            out.extend([json!(["x"]), json!([[]]), json!([null])].map(|value| (value, Some((".0", "dict_type")))));
            out.extend(wrong(Value::is_array, "list_type"));
        }
        Texts { least, most, max } => {
            let items = |count: usize| json!(vec!["x"; count]);
            out.extend([(items(most), None), (items(most + 1), Some(("", "too_long")))]);
            if least > 0 {
                out.extend([(items(least), None), (items(least - 1), Some(("", "too_short")))]);
            }
            if max < usize::MAX {
                out.push((json!(["é".repeat(max)]), None));
                out.push((json!(["é".repeat(max + 1)]), Some((".0", "string_too_long"))));
            }
            out.extend([json!([1]), json!([null])].map(|value| (value, Some((".0", "string_type")))));
            out.extend(wrong(Value::is_array, "list_type"));
        }
    }
    out
}

pub fn set(body: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}: the base body has no such place"))[key] = value;
}

pub fn faults(result: Result<(), Invalid>) -> Vec<(String, String)> {
    let Err(invalid) = result else { return Vec::new() };
    let path = |loc: &[Loc]| {
        let keys = loc.iter().map(|l| match l {
            Loc::Key(key) => key.clone(),
            Loc::Index(i) => i.to_string(),
        });
        keys.collect::<Vec<_>>().join(".")
    };
    invalid.0.iter().map(|item| (path(&item.loc), item.kind.clone())).collect()
}

/// Puts every case of every field of `table` into `base`.
pub fn hold(base: &Value, table: Table<'_>, parse: fn(&[u8]) -> Result<(), Invalid>) {
    let read = |body: &Value| faults(parse(body.to_string().as_bytes()));
    assert_eq!(read(base), [], "the base body is good");
    for (pointer, kind) in table {
        let now = base.pointer(pointer).unwrap_or_else(|| panic!("{pointer}: the base body lacks it"));
        for (value, fault) in cases(*kind, now) {
            let mut body = base.clone();
            set(&mut body, pointer, value.clone());
            let place = format!("body{}", pointer.replace('/', "."));
            let wanted: Vec<_> =
                fault.iter().map(|(below, kind)| (format!("{place}{below}"), (*kind).to_owned())).collect();
            let shown: String = value.to_string().chars().take(60).collect();
            assert_eq!(read(&body), wanted, "{pointer} = {shown}");
        }
        // absent is as null
        let (mut absent, mut null) = (base.clone(), base.clone());
        set(&mut null, pointer, Value::Null);
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match absent.pointer_mut(parent).unwrap() {
            Value::Object(map) => map.remove(key),
            _ => continue,
        };
        assert_eq!(read(&absent), read(&null), "{pointer} absent");
    }
    for text in ["", " ", "null", "[]", "\"x\"", "7", "{", "{\"a\":1,}", "\u{feff}{}", "{}{}"] {
        assert_eq!(faults(parse(text.as_bytes())), [("body".to_owned(), "json_invalid".to_owned())], "{text:?}");
    }
    let whole = base.to_string();
    for cut in (0..whole.len()).step_by(whole.len() / 50 + 1) {
        assert_eq!(faults(parse(&whole.as_bytes()[..cut])).len(), 1, "cut after {cut} bytes");
    }
}
