//! Reads settings one by one and collects what is wrong with them, so that all of it is said at
//! once.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use toml::Value;

use super::settings::{Settings, Text};

/// One fault of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where, such as `--listen` or `listen in origin.toml`.
    pub place: String,
    /// What is wrong.
    pub fault: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.fault, self.remedy)
    }
}

/// Where a setting stands in [`Settings`].
pub(super) type Field<T> = fn(&Settings) -> &Option<T>;

/// Flags and environment, the file, and what holds where neither says anything.
pub(super) struct Reader {
    flags: Settings,
    file: Settings,
    file_name: String,
    defaults: Settings,
    faults: Vec<Fault>,
}

impl Reader {
    /// A file that cannot be read is a fault like any other.
    pub(super) fn new(flags: Settings, file: Option<&Path>) -> Self {
        let mut reader = Self {
            flags,
            file: Settings::default(),
            file_name: file.map(|path| path.display().to_string()).unwrap_or_default(),
            defaults: super::defaults(),
            faults: Vec::new(),
        };
        match file.map(Settings::of_file) {
            Some(Ok(settings)) => reader.file = settings,
            Some(Err(fault)) => reader.faults.push(fault),
            None => {}
        }
        let unknown: Vec<String> = reader.file.unknown.keys().cloned().collect();
        for key in unknown {
            let place = reader.file_name.clone();
            let fault = format!("there is no setting {key:?}");
            reader.fault(place, &fault, "remove it; `serve --help` lists all settings");
        }
        reader
    }

    /// Everything that is wrong.
    pub(super) fn finish(self) -> Vec<Fault> {
        self.faults
    }

    /// Notes a fault.
    pub(super) fn fault(&mut self, place: String, fault: &str, remedy: &str) {
        self.faults.push(Fault { place, fault: fault.to_owned(), remedy: remedy.to_owned() });
    }

    /// Where a setting was set, or would be.
    pub(super) fn place<T>(&self, name: &str, field: Field<T>) -> String {
        let of_file = field(&self.flags).is_none() && field(&self.file).is_some();
        if of_file { format!("{name} in {}", self.file_name) } else { format!("--{name}") }
    }

    /// What is set, whoever set it.
    pub(super) fn found<T: Clone>(&self, field: Field<T>) -> Option<T> {
        let all = [&self.flags, &self.file, &self.defaults];
        all.into_iter().find_map(|settings| field(settings).clone())
    }

    /// The same as text.
    pub(super) fn optional(&self, field: Field<Text>) -> Option<String> {
        self.found(field).map(|text| text.0)
    }

    /// The text of a setting that has a default.
    pub(super) fn text(&self, field: Field<Text>) -> String {
        self.optional(field).unwrap_or_default()
    }

    /// A value of a setting that has a default; where it cannot be used, a fault and `None`.
    pub(super) fn value<T: FromStr>(
        &mut self,
        name: &str,
        field: Field<Text>,
        fault: &str,
        remedy: &str,
    ) -> Option<T> {
        let value = self.optional(field)?.parse().ok();
        if value.is_none() {
            self.fault(self.place(name, field), fault, remedy);
        }
        value
    }

    /// A whole number in `range`.
    pub(super) fn number(
        &mut self,
        name: &str,
        field: Field<Text>,
        range: RangeInclusive<u32>,
    ) -> u32 {
        let number = self.text(field).parse().ok().filter(|number| range.contains(number));
        number.unwrap_or_else(|| {
            let remedy = format!("write a whole number from {} to {}", range.start(), range.end());
            self.fault(self.place(name, field), "is not a number that can be used", &remedy);
            *range.start()
        })
    }

    /// The tables of `[[name]]`, each as the fields that it may have. What is no table is a fault.
    pub(super) fn tables<T: DeserializeOwned>(
        &mut self,
        name: &str,
        field: Field<Value>,
        remedy: &str,
    ) -> Vec<T> {
        let tables = match self.found(field) {
            None => return Vec::new(),
            Some(Value::Array(tables)) => tables,
            Some(other) => vec![other],
        };
        let mut read = Vec::new();
        for table in tables {
            match table.is_table().then(|| table.try_into()) {
                Some(Ok(row)) => read.push(row),
                _ => self.fault(self.place(name, field), "is not a list of tables", remedy),
            }
        }
        read
    }
}
