//! Numbers on the wire.

use serde_json::Value;

/// 0.2 instead of 0.20000000298023224.
pub(crate) fn short(number: f32) -> Value {
    let shortest: Option<f64> = number.to_string().parse().ok();
    shortest.map_or(Value::Null, Value::from)
}
