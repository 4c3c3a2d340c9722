//! Reading settings one by one, so that every fault is found and not only the first.
//!
//! Owns where a setting came from (flag, file or default) and the list of faults. Invariant: a
//! setting that nobody asked for is a fault too.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;

use toml::{Table, Value};

/// Largest configuration file.
const FILE_BYTES_MAX: u64 = 1 << 20;

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

/// See the module.
pub(super) struct Reader {
    file: Option<String>,
    table: Table,
    flags: Vec<(&'static str, String)>,
    asked: BTreeSet<&'static str>,
    faults: Vec<Fault>,
}

/// One table of an array of tables.
pub(super) struct Row(Table);

/// What a field of a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// Text.
    Text,
    /// A whole number that is not negative.
    Number,
    /// A list of texts.
    Texts,
}

impl Field {
    fn admits(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text, Value::String(_)) => true,
            (Self::Number, Value::Integer(number)) => u32::try_from(*number).is_ok(),
            (Self::Texts, Value::Array(items)) => items.iter().all(Value::is_str),
            _ => false,
        }
    }

    fn says(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "a whole number",
            Self::Texts => "a list of texts",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Text => "write it in quotes",
            Self::Number => "write a whole number from 0 to 4294967295",
            Self::Texts => "write it as [\"one\", \"two\"]",
        }
    }
}

/// What is wrong with a table, each with its remedy.
fn row_faults(table: &Table, fields: &[(&str, Field)], whole: &str) -> Vec<(String, String)> {
    let known = |key: &String| fields.iter().any(|(name, _)| name == key);
    let unknown = table
        .keys()
        .filter(|key| !known(key))
        .map(|key| (format!("there is no field {key:?}"), whole.to_owned()));
    let required = fields.iter().take(1);
    let missing = required
        .filter(|(name, _)| !table.contains_key(*name))
        .map(|(name, _)| (format!("{name} is missing"), whole.to_owned()));
    let wrong = fields.iter().filter_map(|(name, field)| {
        let value = table.get(*name)?;
        let fault = format!("{name} is not {}", field.says());
        (!field.admits(value)).then(|| (fault, field.remedy().to_owned()))
    });
    unknown.chain(missing).chain(wrong).collect()
}

impl Reader {
    /// Reads the file. A file that cannot be read is a fault like any other.
    pub(super) fn open(file: Option<&Path>, flags: Vec<(&'static str, String)>) -> Self {
        let name = file.map(|path| path.display().to_string());
        let mut reader = Self {
            file: name,
            table: Table::new(),
            flags,
            asked: BTreeSet::new(),
            faults: Vec::new(),
        };
        if let Some(path) = file {
            match read(path) {
                Ok(table) => reader.table = table,
                Err((fault, remedy)) => {
                    reader.faults.push(Fault {
                        place: path.display().to_string(),
                        fault,
                        remedy: remedy.to_owned(),
                    });
                }
            }
        }
        reader
    }

    /// All faults, those for settings that do not exist included.
    pub(super) fn finish(mut self) -> Vec<Fault> {
        let unknown: Vec<String> =
            self.table.keys().filter(|key| !self.asked.contains(key.as_str())).cloned().collect();
        for key in unknown {
            let place = self.file.clone().unwrap_or_default();
            let known: Vec<&str> = self.asked.iter().copied().collect();
            let remedy = format!("remove it; the settings are {}", known.join(", "));
            self.faults.push(Fault {
                place,
                fault: format!("there is no setting {key:?}"),
                remedy,
            });
        }
        self.faults
    }

    /// Notes a fault of the setting `key`.
    pub(super) fn fault(&mut self, key: &str, fault: &str, remedy: &str) {
        let flag = self.flags.iter().any(|(name, _)| *name == key);
        let place = match &self.file {
            Some(file) if !flag && self.table.contains_key(key) => format!("{key} in {file}"),
            _ => format!("--{key}"),
        };
        self.faults.push(Fault { place, fault: fault.to_owned(), remedy: remedy.to_owned() });
    }

    pub(super) fn optional(&mut self, key: &'static str) -> Option<String> {
        match self.value(key)? {
            Value::String(text) => Some(text),
            _ => {
                self.fault(key, "is not text", "write it in quotes");
                None
            }
        }
    }

    pub(super) fn text(&mut self, key: &'static str, default: &str) -> String {
        self.optional(key).unwrap_or_else(|| default.to_owned())
    }

    /// A whole number in `range`; a flag's text counts as one.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        default: u32,
        range: RangeInclusive<u32>,
    ) -> u32 {
        let number = match self.value(key) {
            None => return default,
            Some(Value::Integer(number)) => u32::try_from(number).ok(),
            Some(Value::String(text)) => text.parse().ok(),
            Some(_) => None,
        };
        number.filter(|number| range.contains(number)).unwrap_or_else(|| {
            let remedy = format!("write a whole number from {} to {}", range.start(), range.end());
            self.fault(key, "is not a number that can be used", &remedy);
            default
        })
    }

    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        match self.value(key) {
            None => default,
            Some(Value::Boolean(on)) => on,
            Some(Value::String(text)) if text == "true" || text == "false" => text == "true",
            Some(_) => {
                self.fault(key, "is neither true nor false", "write true or false");
                default
            }
        }
    }

    /// A list of texts; a flag's is separated by commas.
    pub(super) fn list(&mut self, key: &'static str, default: &[&str]) -> Vec<String> {
        let list = match self.value(key) {
            None => Some(default.iter().map(|item| (*item).to_owned()).collect()),
            Some(Value::String(text)) => {
                Some(text.split(',').map(|item| item.trim().to_owned()).collect())
            }
            Some(Value::Array(items)) => {
                items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
            }
            Some(_) => None,
        };
        list.unwrap_or_else(|| {
            self.fault(key, "is not a list of texts", "write it as [\"one\", \"two\"]");
            Vec::new()
        })
    }

    /// The tables of `[[key]]`, which have these fields. The first is required; others may be left
    /// out. Every field that is not what it should be is a fault, and its table is still read for
    /// the rest.
    pub(super) fn tables(&mut self, key: &'static str, fields: &[(&str, Field)]) -> Vec<Row> {
        let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        let remedy = format!("write [[{key}]] and below it {}", names.join(", "));
        let rows = match self.value(key) {
            None => return Vec::new(),
            Some(Value::Array(rows)) => rows,
            Some(_) => Vec::from([Value::Boolean(false)]),
        };
        let mut read = Vec::new();
        for (index, row) in rows.into_iter().enumerate() {
            let Value::Table(table) = row else {
                self.fault(key, "is not a list of tables", &remedy);
                continue;
            };
            for (fault, remedy) in row_faults(&table, fields, &remedy) {
                self.fault(key, &format!("table {}: {fault}", index + 1), &remedy);
            }
            read.push(Row(table));
        }
        read
    }

    fn value(&mut self, key: &'static str) -> Option<Value> {
        self.asked.insert(key);
        let flag = self.flags.iter().find(|(name, _)| *name == key);
        flag.map(|(_, text)| Value::String(text.clone())).or_else(|| self.table.get(key).cloned())
    }
}

impl Row {
    pub(super) fn text(&self, field: &str) -> Option<String> {
        self.0.get(field)?.as_str().map(str::to_owned)
    }

    pub(super) fn number(&self, field: &str) -> Option<u32> {
        u32::try_from(self.0.get(field)?.as_integer()?).ok()
    }

    pub(super) fn list(&self, field: &str) -> Vec<String> {
        let items = self.0.get(field).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    }
}

fn read(path: &Path) -> Result<Table, (String, &'static str)> {
    let look = "name a TOML file that can be read";
    let size = std::fs::metadata(path).map_err(|e| (e.to_string(), look))?.len();
    if size > FILE_BYTES_MAX {
        return Err((format!("has {size} bytes, at most {FILE_BYTES_MAX} are read"), look));
    }
    let text = std::fs::read_to_string(path).map_err(|e| (e.to_string(), look))?;
    // The error's own text quotes the line, which may hold a secret.
    let place = |e: &toml::de::Error| {
        e.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1)
    };
    text.parse().map_err(|e: toml::de::Error| {
        (format!("is not TOML (line {}: {})", place(&e), e.message()), "mend that line")
    })
}
