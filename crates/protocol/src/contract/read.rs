//! Reads fields out of a JSON object, gathering every fault with its place.

use super::invalid::{Invalid, InvalidItem, Loc};
use super::tree::{Map, Value};

/// More faults than this are not listed: a body of 100 bad components must not make a long answer.
const MOST_FAULTS: usize = 20;

/// The faults found so far and the place being read.
#[derive(Default)]
pub(super) struct Reader {
    place: Vec<Loc>,
    faults: Vec<InvalidItem>,
}

impl Reader {
    /// Parses `body` and hands its object to `read`; the result counts only when no fault was found.
    pub(super) fn body<T>(body: &[u8], read: impl FnOnce(&mut Reader, &mut Map) -> Option<T>) -> Result<T, Invalid> {
        let Ok(Value::Object(mut map)) = serde_json::from_slice(body) else { return Err(Invalid::not_json()) };
        let mut reader = Reader { place: vec![Loc::Key("body".into())], faults: Vec::new() };
        match read(&mut reader, &mut map) {
            Some(value) if reader.faults.is_empty() => Ok(value),
            _ if reader.faults.is_empty() => Err(Invalid::not_json()),
            _ => Err(Invalid(reader.faults)),
        }
    }

    /// Records a fault at field `key` of the current place.
    pub(super) fn fault(&mut self, key: &str, msg: impl Into<String>, kind: &str) {
        if self.faults.len() < MOST_FAULTS {
            let mut loc = self.place.clone();
            loc.push(Loc::Key(key.to_owned()));
            self.faults.push(InvalidItem { loc, msg: msg.into(), kind: kind.to_owned() });
        }
    }

    /// Reads something at a deeper place.
    pub(super) fn inside<T>(&mut self, loc: Loc, read: impl FnOnce(&mut Self) -> T) -> T {
        self.place.push(loc);
        let value = read(self);
        self.place.pop();
        value
    }

    /// A string of at most `max` characters, or `None` when absent or null.
    pub(super) fn text(&mut self, map: &mut Map, key: &str, max: usize) -> Option<String> {
        match map.get_mut(key).map(Value::take) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if within(&text, max) => Some(text),
            Some(Value::String(_)) => {
                self.fault(key, format!("String should have at most {max} characters"), "string_too_long");
                None
            }
            Some(_) => {
                self.fault(key, "Input should be a valid string", "string_type");
                None
            }
        }
    }

    /// A string that must be there.
    pub(super) fn required(&mut self, map: &mut Map, key: &str, max: usize) -> Option<String> {
        if matches!(map.get(key), None | Some(Value::Null)) {
            self.fault(key, "Field required", "missing");
            return None;
        }
        self.text(map, key, max)
    }

    /// A boolean; absent and null are false.
    pub(super) fn flag(&mut self, map: &Map, key: &str) -> bool {
        match map.get(key) {
            None | Some(Value::Null) => false,
            Some(Value::Bool(value)) => *value,
            Some(_) => {
                self.fault(key, "Input should be a valid boolean", "bool_type");
                false
            }
        }
    }

    /// A whole number within `range`; `None` when absent or null.
    pub(super) fn integer(&mut self, map: &Map, key: &str, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let value = map.get(key).filter(|value| !value.is_null())?;
        let Some(number) = value.as_number().filter(|number| number.is_i64() || number.is_u64()) else {
            self.fault(key, "Input should be a valid integer", "int_type");
            return None;
        };
        let number = number.as_i64().unwrap_or(i64::MAX);
        match u32::try_from(number) {
            Ok(number) if range.contains(&number) => Some(number),
            _ if number < i64::from(*range.start()) => {
                self.fault(
                    key,
                    format!("Input should be greater than or equal to {}", range.start()),
                    "greater_than_equal",
                );
                None
            }
            _ => {
                self.fault(key, format!("Input should be less than or equal to {}", range.end()), "less_than_equal");
                None
            }
        }
    }

    /// A number within `range`; `None` when absent or null.
    pub(super) fn number(&mut self, map: &Map, key: &str, range: std::ops::RangeInclusive<f64>) -> Option<f64> {
        match map.get(key).filter(|value| !value.is_null())?.as_number().and_then(serde_json::Number::as_f64) {
            Some(number) if range.contains(&number) => Some(number),
            Some(_) => {
                let msg = format!("Input should be between {} and {}", range.start(), range.end());
                self.fault(key, msg, "less_than_equal");
                None
            }
            None => {
                self.fault(key, "Input should be a valid number", "float_type");
                None
            }
        }
    }

    /// A list of `least` to `most` strings of at most `max` characters each; `None` when absent or null.
    pub(super) fn texts(
        &mut self,
        map: &mut Map,
        key: &str,
        range: std::ops::RangeInclusive<usize>,
        max: usize,
    ) -> Option<Vec<String>> {
        let items = match map.get_mut(key).map(Value::take) {
            None | Some(Value::Null) => return None,
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.fault(key, "Input should be a valid list", "list_type");
                return None;
            }
        };
        if items.len() < *range.start() {
            self.fault(key, format!("List should have at least {} items", range.start()), "too_short");
            return None;
        }
        if items.len() > *range.end() {
            self.fault(key, format!("List should have at most {} items", range.end()), "too_long");
            return None;
        }
        let mut out = Vec::with_capacity(items.len());
        self.inside(Loc::Key(key.into()), |reader| {
            for (index, item) in items.into_iter().enumerate() {
                reader.inside(Loc::Index(index), |reader| match item {
                    Value::String(text) if within(&text, max) => out.push(text),
                    Value::String(_) => {
                        reader.fault_here(&format!("String should have at most {max} characters"), "string_too_long");
                    }
                    _ => reader.fault_here("Input should be a valid string", "string_type"),
                });
            }
        });
        Some(out)
    }

    /// An object, read by `read` one place deeper; `None` when absent or null.
    pub(super) fn object<T>(
        &mut self,
        map: &mut Map,
        key: &str,
        read: impl FnOnce(&mut Self, &mut Map) -> Option<T>,
    ) -> Option<T> {
        match map.get_mut(key).map(Value::take) {
            None | Some(Value::Null) => None,
            Some(Value::Object(mut inner)) => self.inside(Loc::Key(key.into()), |r| read(r, &mut inner)),
            Some(_) => {
                self.fault(key, "Input should be an object", "dict_type");
                None
            }
        }
    }

    /// An object that must be there.
    pub(super) fn required_object<T>(
        &mut self,
        map: &mut Map,
        key: &str,
        read: impl FnOnce(&mut Self, &mut Map) -> Option<T>,
    ) -> Option<T> {
        if matches!(map.get(key), None | Some(Value::Null)) {
            self.fault(key, "Field required", "missing");
            return None;
        }
        self.object(map, key, read)
    }

    /// `type` and `metadata` of a component: they must be there within their limits, and nothing more is done with them.
    pub(super) fn component_head(&mut self, map: &mut Map, max: usize) {
        self.required(map, "type", max);
        self.required_object(map, "metadata", |reader, map| {
            reader.required(map, "source", max);
            reader.required(map, "version", max);
            Some(())
        });
    }

    /// A list of at most `max` objects, each read by `read`; absent and null are empty.
    pub(super) fn list<T>(
        &mut self,
        map: &mut Map,
        key: &str,
        max: usize,
        mut read: impl FnMut(&mut Self, &mut Map) -> Option<T>,
    ) -> Vec<T> {
        let items = match map.get_mut(key).map(Value::take) {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.fault(key, "Input should be a valid list", "list_type");
                return Vec::new();
            }
        };
        if items.len() > max {
            self.fault(key, format!("List should have at most {max} items"), "too_long");
            return Vec::new();
        }
        let mut out = Vec::with_capacity(items.len());
        self.inside(Loc::Key(key.into()), |reader| {
            for (index, item) in items.into_iter().enumerate() {
                reader.inside(Loc::Index(index), |reader| match item {
                    Value::Object(mut inner) => out.extend(read(reader, &mut inner)),
                    _ => reader.fault_here("Input should be an object", "dict_type"),
                });
            }
        });
        out
    }

    /// A string; anything else counts as absent. For fields that only feed a prompt.
    pub(super) fn string(map: &mut Map, key: &str) -> Option<String> {
        match map.get_mut(key).map(Value::take) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The strings of a list; anything else in it is left out. For fields that only feed a prompt.
    pub(super) fn strings(map: &mut Map, key: &str) -> Vec<String> {
        match map.get_mut(key).map(Value::take) {
            Some(Value::Array(items)) => {
                items.into_iter().filter_map(|item| if let Value::String(s) = item { Some(s) } else { None }).collect()
            }
            _ => Vec::new(),
        }
    }

    fn fault_here(&mut self, msg: &str, kind: &str) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(InvalidItem { loc: self.place.clone(), msg: msg.into(), kind: kind.into() });
        }
    }
}

/// Limits count characters, as the official gateway does; the byte length settles most cases without counting.
fn within(text: &str, max: usize) -> bool {
    text.len() <= max || text.chars().count() <= max
}
