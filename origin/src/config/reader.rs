//! Reads settings one by one and collects what is wrong with them, so that all of it is said at
//! once.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::settings::{self, Settings, Text};

/// What all events have in common.
const OF_THE_ORIGIN: [&str; 37] = [
    "listen",
    "control",
    "data",
    "rtmp",
    "rtmp-admission",
    "rtmp-idle",
    "rtmp-strangers",
    "rtmp-memory",
    "rtmp-rival-pause",
    "srt",
    "srt-latency-ms",
    "cpu-percent",
    "encoder",
    "encoder-nice",
    "keyring",
    "operator-token",
    "edge-secret",
    "edges",
    "open-playback",
    "page",
    "snapshot-every",
    "database",
    "database-connections",
    "database-timeout-ms",
    "streams-max",
    "key-grace",
    "when-removed",
    "rtmp-url",
    "srt-url",
    "playback-url",
    "webhook-attempts",
    "webhook-pauses",
    "webhook-timeout",
    "webhook-private",
    "audit-days",
    "log",
    "log-level",
];
/// How several events are written.
const EVENTS: &str = "write [[events]] and below it event = \"...\" and what differs from the rest";

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
    /// Where a setting stands, for settings that come from neither flags nor file.
    pointer: Option<fn(&str) -> String>,
}

impl Reader {
    /// One for each event. A file that cannot be read is a fault like any other.
    pub(super) fn of_each_event(flags: &Settings, file: Option<&Path>) -> Vec<Self> {
        let file_name = file.map(|path| path.display().to_string()).unwrap_or_default();
        let (table, fault) = match file.map(settings::table_of_file) {
            Some(Ok(table)) => (table, None),
            Some(Err(fault)) => (Table::new(), Some(fault)),
            None => (Table::new(), None),
        };
        let mut common = table;
        let many = common.contains_key("events");
        let (events, wrong) = match common.remove("events") {
            None => (vec![Value::Table(Table::new())], false),
            Some(Value::Array(events)) if !events.is_empty() => (events, false),
            Some(_) => (vec![Value::Table(Table::new())], true),
        };
        let of = |(at, event): (usize, Value)| {
            let place = match many {
                true => format!("[[events]] {} of {file_name}", at + 1),
                false => file_name.clone(),
            };
            let mut reader = Self {
                flags: flags.clone(),
                file: Settings::default(),
                file_name: place,
                defaults: super::defaults(),
                faults: fault.clone().into_iter().collect(),
                pointer: None,
            };
            reader.take(&common, event, wrong);
            reader
        };
        events.into_iter().enumerate().map(of).collect()
    }

    /// Of a stream whose settings were asked for. `common` is what holds for all events. Faults
    /// name the place by `pointer`.
    pub(super) fn of_stream(common: &Table, own: Table, pointer: fn(&str) -> String) -> Self {
        let mut reader = Self {
            flags: Settings::default(),
            file: Settings::default(),
            file_name: String::new(),
            defaults: super::defaults(),
            faults: Vec::new(),
            pointer: Some(pointer),
        };
        let mut merged = common.clone();
        merged.extend(own);
        match merged.try_into() {
            Ok(settings) => reader.file = settings,
            Err(error) => {
                let error: toml::de::Error = error;
                reader.fault(pointer(""), error.message(), "mend that setting");
            }
        }
        reader
    }

    /// What holds where nobody says anything.
    pub(super) fn defaults(&mut self) -> &mut Settings {
        &mut self.defaults
    }

    /// The place of what no setting shows alone.
    pub(super) fn together(&self, otherwise: &str) -> String {
        self.pointer.map_or_else(|| otherwise.to_owned(), |pointer| pointer(""))
    }

    /// The file's settings: those of all events, and over them those of one.
    fn take(&mut self, common: &Table, event: Value, wrong: bool) {
        let place = self.file_name.clone();
        let mut merged = common.clone();
        match event {
            Value::Table(own) => {
                for key in own.keys().filter(|key| OF_THE_ORIGIN.contains(&key.as_str())) {
                    let fault = format!("{key} is the origin's, not one event's");
                    self.fault(place.clone(), &fault, "write it above the first [[events]]");
                }
                merged.extend(own);
            }
            _ => self.fault(place.clone(), "is no table", EVENTS),
        }
        if wrong {
            self.fault(place.clone(), "events is not a list of tables", EVENTS);
        }
        match merged.try_into() {
            Ok(settings) => self.file = settings,
            Err(error) => {
                let error: toml::de::Error = error;
                self.fault(place.clone(), error.message(), "mend that setting");
            }
        }
        let unknown: Vec<String> = self.file.unknown.keys().cloned().collect();
        for key in unknown {
            let fault = format!("there is no setting {key:?}");
            self.fault(place.clone(), &fault, "remove it; `serve --help` lists all settings");
        }
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
        if let Some(pointer) = self.pointer {
            return pointer(name);
        }
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
