//! Boolean flags: flagd's JSON, evaluated for one request.
//!
//! Of JSONLogic this has what targeting by event, place, plan and cohort needs. Evaluation always
//! ends. What cannot be evaluated gives the flag's default variant, or else the caller's own
//! default.

use serde::Deserialize;
use serde_json::{Map, Value};

/// Deepest nesting of a targeting rule that is evaluated.
const DEPTH_MAX: u32 = 16;

/// The flags that the edge and the origin read. Every one is on where nothing is said, but
/// [`PANIC`].
pub const ADS: &str = "ads";
/// Snapshots stand in for the API.
pub const SNAPSHOTS: &str = "snapshots";
/// New sessions are low-latency ones.
pub const LOW_LATENCY: &str = "low-latency";
/// The API is answered by snapshots alone; the origin is not asked.
pub const PANIC: &str = "panic";

/// A flag document.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Flags {
    #[serde(default)]
    flags: Map<String, Value>,
    #[serde(default, rename = "$evaluators")]
    evaluators: Map<String, Value>,
}

/// What a flag may be targeted at. Unknown things are absent, and compare equal to nothing but
/// `null`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subject<'a> {
    /// Event.
    pub event: Option<&'a str>,
    /// Cohort.
    pub cohort: Option<&'a str>,
    /// Country.
    pub country: Option<&'a str>,
    /// Region.
    pub region: Option<&'a str>,
    /// Plan.
    pub plan: Option<&'a str>,
}

impl Flags {
    /// The value of a boolean flag.
    #[must_use]
    pub fn is_on(&self, name: &str, otherwise: bool, subject: Subject<'_>) -> bool {
        self.evaluate(name, subject).unwrap_or(otherwise)
    }

    fn evaluate(&self, name: &str, subject: Subject<'_>) -> Option<bool> {
        let flag = self.flags.get(name)?;
        if flag.get("state")?.as_str()? != "ENABLED" {
            return None;
        }
        let variants = flag.get("variants")?;
        let variant = |key: &str| variants.get(key).and_then(Value::as_bool);
        let targeted = flag
            .get("targeting")
            .filter(|rule| rule.as_object().is_some_and(|rule| !rule.is_empty()));
        let chosen =
            targeted.and_then(|rule| Evaluation { flags: self, subject }.value(rule, DEPTH_MAX));
        let by_target = match chosen {
            Some(Value::String(key)) => variant(&key),
            Some(Value::Bool(on)) => variant(if on { "true" } else { "false" }),
            _ => None,
        };
        by_target.or_else(|| variant(flag.get("defaultVariant")?.as_str()?))
    }
}

struct Evaluation<'a> {
    flags: &'a Flags,
    subject: Subject<'a>,
}

impl Evaluation<'_> {
    /// The value of a JSONLogic expression; `None` where it uses what this evaluator does not have.
    fn value(&self, rule: &Value, depth: u32) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        let operation = match rule {
            Value::Object(operation) if operation.len() == 1 => operation,
            Value::Object(_) => return None,
            Value::Array(items) => {
                return items.iter().map(|item| self.value(item, depth)).collect();
            }
            literal => return Some(literal.clone()),
        };
        let (operator, operand) = operation.iter().next()?;
        let operands = operand.as_array().map_or(std::slice::from_ref(operand), Vec::as_slice);
        match operator.as_str() {
            "var" => Some(self.variable(operands.first()?.as_str()?)),
            "$ref" => self.value(self.flags.evaluators.get(operand.as_str()?)?, depth),
            "if" => self.choice(operands, depth),
            "and" => self.all(operands, depth),
            "or" => self.any(operands, depth),
            _ => {
                let values: Vec<Value> = operands
                    .iter()
                    .map(|operand| self.value(operand, depth))
                    .collect::<Option<_>>()?;
                apply(operator, &values).map(Value::Bool)
            }
        }
    }

    fn variable(&self, name: &str) -> Value {
        let subject = self.subject;
        let text = match name {
            "event" => subject.event,
            "cohort" | "targetingKey" => subject.cohort,
            "country" => subject.country,
            "region" => subject.region,
            "plan" => subject.plan,
            _ => None,
        };
        text.map_or(Value::Null, Value::from)
    }

    /// `if, then, else if, then, ..., else`.
    fn choice(&self, operands: &[Value], depth: u32) -> Option<Value> {
        let (pairs, rest) = operands.as_chunks::<2>();
        for [condition, then] in pairs {
            if is_true(&self.value(condition, depth)?) {
                return self.value(then, depth);
            }
        }
        rest.first().map_or(Some(Value::Null), |otherwise| self.value(otherwise, depth))
    }

    fn all(&self, operands: &[Value], depth: u32) -> Option<Value> {
        let mut last = Value::Bool(true);
        for operand in operands {
            last = self.value(operand, depth)?;
            if !is_true(&last) {
                break;
            }
        }
        Some(last)
    }

    fn any(&self, operands: &[Value], depth: u32) -> Option<Value> {
        let mut last = Value::Bool(false);
        for operand in operands {
            last = self.value(operand, depth)?;
            if is_true(&last) {
                break;
            }
        }
        Some(last)
    }
}

fn apply(operator: &str, values: &[Value]) -> Option<bool> {
    match (operator, values) {
        ("==" | "===", [a, b]) => Some(a == b),
        ("!=" | "!==", [a, b]) => Some(a != b),
        ("!", [a]) => Some(!is_true(a)),
        ("!!", [a]) => Some(is_true(a)),
        ("in", [needle, Value::Array(list)]) => Some(list.contains(needle)),
        ("in", [Value::String(needle), Value::String(text)]) => {
            Some(text.contains(needle.as_str()))
        }
        ("starts_with", [Value::String(text), Value::String(start)]) => {
            Some(text.starts_with(start.as_str()))
        }
        ("ends_with", [Value::String(text), Value::String(end)]) => {
            Some(text.ends_with(end.as_str()))
        }
        ("in" | "starts_with" | "ends_with", [_, _]) => Some(false),
        _ => None,
    }
}

/// JSONLogic's truth: `false`, `null`, `0`, `""` and `[]` are not.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(on) => *on,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(_) => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end where it fails")]
    use super::*;
    use serde_json::json;

    fn on(targeting: &Value, subject: Subject<'_>) -> bool {
        let flag = json!({"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "on", "targeting": targeting});
        let flags: Flags = serde_json::from_value(json!({
            "flags": {"ads": flag},
            "$evaluators": {"abroad": {"!": {"in": [{"var": "country"}, ["IN", "LK"]]}}}
        }))
        .unwrap();
        flags.is_on(ADS, true, subject)
    }

    #[test]
    fn targeting_decides_and_the_default_variant_stands_in() {
        let india = Subject { country: Some("IN"), plan: Some("free"), ..Subject::default() };
        assert!(on(&json!({}), india));
        assert!(!on(&json!({"if": [{"==": [{"var": "country"}, "IN"]}, "off"]}), india));
        assert!(on(
            &json!({"if": [{"==": [{"var": "country"}, "IN"]}, "off"]}),
            Subject::default()
        ));
        assert!(!on(&json!({"if": [{"$ref": "abroad"}, "off", "on"]}), Subject::default()));
        assert!(!on(
            &json!({"if": [{"and": [{"in": ["fr", {"var": "plan"}]}, {"!!": [{"var": "country"}]}]}, "off"]}),
            india
        ));
        assert!(!on(
            &json!({"if": [{"or": [{"starts_with": [{"var": "plan"}, "x"]}, {"ends_with": [{"var": "plan"}, "ee"]}]}, "off"]}),
            india
        ));
    }

    #[test]
    fn what_cannot_be_evaluated_gives_the_default_variant() {
        assert!(on(&json!({"if": [{"sem_ver": ["1", "=", "1"]}, "off"]}), Subject::default()));
        assert!(on(&json!({"if": [true, "nowhere"]}), Subject::default()));
        let mut deep = json!(true);
        for _ in 0..40 {
            deep = json!({"!!": [deep]});
        }
        assert!(on(&json!({"if": [deep, "off"]}), Subject::default()));
    }

    #[test]
    fn unknown_and_disabled_flags_are_the_callers() {
        let flags: Flags = serde_json::from_value(json!({"flags": {"ads": {"state": "DISABLED", "variants": {"off": false}, "defaultVariant": "off"}}})).unwrap();
        assert!(flags.is_on(ADS, true, Subject::default()));
        assert!(!flags.is_on(PANIC, false, Subject::default()));
    }
}
