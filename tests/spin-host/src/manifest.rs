//! Reads a `spin.toml` of version 2 with one component, to which every request goes: where the
//! component is, the values of its variables, and what it is allowed to use.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The component to run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) source: PathBuf,
    /// The component's own variables, resolved.
    pub(crate) variables: HashMap<String, String>,
    /// Origins that it may ask, such as `http://127.0.0.1:9080`, resolved.
    pub(crate) allowed_hosts: Vec<String>,
    /// Key-value stores that it may open.
    pub(crate) stores: Vec<String>,
}

impl Manifest {
    /// Reads the manifest; `given` are values by application variable.
    ///
    /// # Errors
    /// What is missing in the file or among the values.
    pub(crate) fn read(file: &Path, given: &HashMap<String, String>) -> Result<Self, String> {
        let fault = |what: &str| format!("{}: {what}", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| fault(&error.to_string()))?;
        let manifest: Table = text.parse().map_err(|error| fault(&format!("{error}")))?;
        let (name, component) =
            one_component(&manifest).ok_or_else(|| fault("expected one component"))?;
        if !takes_all(&manifest, name) {
            return Err(fault(&format!(
                "expected a trigger with the route /... for component {name}"
            )));
        }
        let source = component.get("source").and_then(Value::as_str);
        let source = source.ok_or_else(|| fault("expected the component's source to be a file"))?;
        let application = values(&manifest, given).map_err(|what| fault(&what))?;
        let variables = table(component, "variables")
            .filter_map(|(name, template)| Some((name, template.as_str()?)))
            .map(|(name, template)| (name.clone(), resolve(template, &application)))
            .collect();
        let allowed_hosts = texts(component, "allowed_outbound_hosts")
            .map(|template| resolve(template, &application))
            .collect();
        let stores = texts(component, "key_value_stores").map(str::to_owned).collect();
        let folder = file.parent().unwrap_or(Path::new("."));
        Ok(Self { source: folder.join(source), variables, allowed_hosts, stores })
    }
}

fn one_component(manifest: &Table) -> Option<(&str, &Table)> {
    let mut components = manifest.get("component")?.as_table()?.iter();
    let (name, component) = components.next()?;
    let component = component.as_table()?;
    components.next().is_none().then_some((name.as_str(), component))
}

/// Whether a trigger sends every path to the component.
fn takes_all(manifest: &Table, component: &str) -> bool {
    let triggers =
        manifest.get("trigger").and_then(|trigger| trigger.get("http")).and_then(Value::as_array);
    let says = |trigger: &Value, key: &str, expected: &str| {
        trigger.get(key).and_then(Value::as_str) == Some(expected)
    };
    triggers
        .into_iter()
        .flatten()
        .any(|trigger| says(trigger, "route", "/...") && says(trigger, "component", component))
}

/// The items of a list of texts; none where there is no list.
fn texts<'a>(parent: &'a Table, name: &str) -> impl Iterator<Item = &'a str> {
    parent.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn table<'a>(parent: &'a Table, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    parent.get(name).and_then(Value::as_table).into_iter().flatten()
}

/// The application's variables: as given, else the default.
fn values(
    manifest: &Table,
    given: &HashMap<String, String>,
) -> Result<HashMap<String, String>, String> {
    table(manifest, "variables")
        .map(|(name, variable)| {
            let default = variable.get("default").and_then(Value::as_str).map(str::to_owned);
            let value = given.get(name).cloned().or(default);
            let missing = || {
                let shout = name.to_uppercase();
                format!("variable {name} is required: set SPIN_VARIABLE_{shout}")
            };
            Ok((name.clone(), value.ok_or_else(missing)?))
        })
        .collect()
}

/// Replaces each `{{ name }}` by its value, and by nothing where it has none.
fn resolve(template: &str, values: &HashMap<String, String>) -> String {
    let mut parts = template.split("{{");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once("}}").unwrap_or((part, ""));
        text.push_str(values.get(name.trim()).map_or("", String::as_str));
        text.push_str(rest);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_deployed_manifest_is_read() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spin.toml");
        let given = map(&[("keyring", "{}"), ("origin", "http://127.0.0.1:1")]);
        let manifest = Manifest::read(&file, &given);
        let variables = map(&[
            ("keyring", "{}"),
            ("origin", "http://127.0.0.1:1"),
            ("origin_secret", ""),
            ("geo_header", ""),
        ]);
        let read = Manifest {
            source: file.with_file_name("build/spin.wasm"),
            variables,
            allowed_hosts: ["http://127.0.0.1:1", "https://media.invalid"]
                .map(str::to_owned)
                .into(),
            stores: vec!["default".to_owned()],
        };
        assert_eq!(manifest.as_ref(), Ok(&read));
        let without = Manifest::read(&file, &map(&[]));
        assert!(without.is_err_and(|fault| fault.contains("SPIN_VARIABLE_KEYRING")));
    }

    #[test]
    fn a_component_that_does_not_get_all_requests_is_refused() {
        let manifest = |route: &str, component: &str| -> Table {
            let text =
                format!("[[trigger.http]]\nroute = \"{route}\"\ncomponent = \"{component}\"");
            text.parse().unwrap_or_default()
        };
        assert!(takes_all(&manifest("/...", "a"), "a"));
        assert!(!takes_all(&manifest("/live/...", "a"), "a"));
        assert!(!takes_all(&manifest("/...", "b"), "a"));
        assert!(!takes_all(&Table::new(), "a"));
    }

    #[test]
    fn templates_are_filled() {
        let values = map(&[("a", "1"), ("b", "2")]);
        assert_eq!(resolve("{{ a }}-{{b}}{{ c }}.", &values), "1-2.");
        assert_eq!(resolve("plain", &values), "plain");
    }
}
