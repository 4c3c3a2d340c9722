//! A new configuration in a running process: whole or not at all.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::rows::clock;
use super::{Streams, StreamsError};
use crate::config::{Config, Fault, WhenRemoved, fixed_differences};
use crate::event::State;

/// What a reload did, by the events' names.
#[derive(Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Reloaded {
    /// They are new.
    pub started: Vec<String>,
    /// They go on with other settings.
    pub changed: Vec<String>,
    /// They are no longer configured.
    pub removed: Vec<String>,
}

impl Streams {
    /// Reads the configuration again. New events start, removed ones end or stop as
    /// `when-removed` says, and what may change in the others does. Nobody who watches is dropped.
    ///
    /// # Errors
    /// [`StreamsError::Reload`] with all that is wrong or needs a restart, or why a new event does
    /// not start; nothing is changed then.
    pub async fn reload(&self) -> Result<Reloaded, StreamsError> {
        let (configs, template) = (self.load)().map_err(StreamsError::Reload)?;
        let _turn = self.turn().await;
        let before = self.configured();
        let faults = faults(&before, &configs);
        if !faults.is_empty() {
            return Err(StreamsError::Reload(faults));
        }
        let mut done = Reloaded::default();
        for config in &configs {
            match before.get(&config.event) {
                Some(old) if old.body() == config.body() => {}
                Some(_) => done.changed.push(config.event.clone()),
                None => done.started.push(config.event.clone()),
            }
        }
        self.start_all(&configs, &done.started).await?;
        *self.template.write().unwrap_or_else(PoisonError::into_inner) = template;
        let mut by_name: BTreeMap<String, Config> =
            configs.into_iter().map(|config| (config.event.clone(), config)).collect();
        for name in &done.changed {
            if let Some(config) = by_name.get(name)
                && let Err(error) = self.apply(config).await
            {
                tracing::error!(event = name, %error, "the edges hear of the change with the next");
            }
        }
        done.removed = before.keys().filter(|name| !by_name.contains_key(*name)).cloned().collect();
        // What keeps its secret over a reload keeps it over the next as well.
        for (name, config) in &mut by_name {
            if let Some(old) = before.get(name) {
                config.input = old.input.clone();
            }
        }
        *self.configured.write().unwrap_or_else(PoisonError::into_inner) = by_name;
        for name in &done.removed {
            self.remove(name).await;
        }
        if let Err(error) = self.register().await {
            tracing::warn!(%error, "the database hears of the reload at the next start");
        }
        tracing::info!(event = "reload", ?done, "the configuration was read again");
        Ok(done)
    }

    /// Starts new events: all, or none.
    async fn start_all(&self, configs: &[Config], names: &[String]) -> Result<(), StreamsError> {
        let new = configs.iter().filter(|config| names.contains(&config.event));
        let all = new.map(Config::event_settings).collect();
        let started = self.runner.start(all).await;
        if started.is_err() {
            for name in names {
                if !self.configured().contains_key(name) {
                    self.runner.stop(name).await;
                }
            }
        }
        Ok(started?)
    }

    async fn remove(&self, name: &str) {
        let done = match self.rules().when_removed {
            WhenRemoved::End => self.end_running(name).await,
            WhenRemoved::Stop => {
                let off = self.take_off(name).await;
                let kept = self.database.set_status(name, State::Ended, clock()).await;
                off.and(kept.map_err(StreamsError::from))
            }
        };
        if let Err(error) = done {
            tracing::error!(event = name, %error, "an event that was removed is still there");
        }
    }
}

/// What needs a restart.
fn faults(before: &BTreeMap<String, Config>, configs: &[Config]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |place: String, fault: String| {
        let remedy = "restart the origin for it, or take the change back".to_owned();
        faults.push(Fault { place, fault, remedy });
    };
    let (old, new) = (before.values().next(), configs.first());
    if let (Some(old), Some(new)) = (old, new) {
        for setting in old.origin_differences(new) {
            fault(setting.to_owned(), "is the origin's, which is running".to_owned());
        }
    }
    for config in configs {
        let Some(old) = before.get(&config.event) else { continue };
        for (pointer, why) in fixed_differences(&old.body(), &config.body()) {
            let setting = crate::config::setting_at(pointer);
            fault(format!("{setting} of {}", config.event), format!("cannot change: {why}"));
        }
        for setting in old.hidden_differences(config) {
            fault(
                format!("{setting} of {}", config.event),
                "cannot change while it runs".to_owned(),
            );
        }
    }
    faults
}
