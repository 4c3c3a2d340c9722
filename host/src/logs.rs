//! Log lines. Nothing of a viewer is in them: a query may hold a signature, and the second segment
//! of `/live/` a pass.

use tracing_subscriber::filter::LevelFilter;

use crate::config::LogFormat;

/// Starts logging to standard error, from `level` on.
pub fn start(format: LogFormat, level: LevelFilter) {
    let logs = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false);
    // Fails only when something logs already, such as a program that embeds the node.
    let _ = match format {
        LogFormat::Json => logs
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init(),
        LogFormat::Plain => logs.with_ansi(false).try_init(),
    };
}

/// The target as it may be logged: no query, and in place of everything between event and last
/// segment a dash.
pub(crate) fn masked(target: &str) -> String {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let segments: Vec<&str> = path.split('/').collect();
    match segments.as_slice() {
        ["", "live", event, "main.m3u8"] => format!("/live/{event}/main.m3u8"),
        ["", "live", event, _] => format!("/live/{event}/-"),
        ["", "live", event, _, .., last] => format!("/live/{event}/-/{last}"),
        ["", "live" | "api" | "page", ..] | ["", ""] => path.to_owned(),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pass_and_no_query_is_logged() {
        assert_eq!(masked("/live/demo/main.m3u8?expires=1&sig=SECRET"), "/live/demo/main.m3u8");
        assert_eq!(masked("/live/demo/SECRET/v720/1200.m4s"), "/live/demo/-/1200.m4s");
        assert_eq!(masked("/live/demo/SECRET/main.m3u8"), "/live/demo/-/main.m3u8");
        assert_eq!(masked("/live/demo/SECRET"), "/live/demo/-");
        assert_eq!(masked("/live/demo/"), "/live/demo/-");
        assert_eq!(masked("/api/events?token=SECRET"), "/api/events");
        assert_eq!(masked("//live/demo/SECRET/x"), "-");
        assert_eq!(masked("/"), "/");
    }
}
