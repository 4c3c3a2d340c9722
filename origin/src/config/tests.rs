//! Settings read from flags and files.

use std::collections::BTreeSet;

use clap::Parser;

use super::*;
use crate::encode::encoder::NICE;

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn read(toml: &str, flags: &[&str]) -> Result<Config, Vec<Fault>> {
    read_all(toml, flags).map(|mut configs| configs.remove(0))
}

pub(super) fn read_all(toml: &str, flags: &[&str]) -> Result<Vec<Config>, Vec<Fault>> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("origin.toml");
    std::fs::write(&file, toml).unwrap();
    let line = CommandLine::parse_from([&["origin"], flags].concat());
    Config::read(&line.settings, Some(&file))
}

#[test]
fn each_event_has_its_own_settings_over_those_of_the_file() {
    let toml = "title = \"The final\"\nwindow = 30\nlisten = \"127.0.0.1:1\"\n\
        [[pods]]\ncohort = \"generic\"\ncreatives = [\"built-in:bank\"]\n\
        [[events]]\nevent = \"a\"\n[[events]]\nevent = \"b\"\nwindow = 60\n\
        title = \"The other\"\n[[events.pods]]\ncohort = \"generic\"\ncreatives = [\"built-in:car\"]\n";
    let configs = read_all(toml, &[]).unwrap();
    let told = |config: &Config| {
        let (event, title) = (config.event.clone(), config.title.clone());
        format!("{event} {title} {} {:?}", config.window_s, config.table.creatives())
    };
    let told: Vec<String> = configs.iter().map(told).collect();
    assert_eq!(told, ["a The final 30 [\"built-in:bank\"]", "b The other 60 [\"built-in:car\"]",]);
    assert!(configs.iter().all(|config| config.listen.port() == 1));
}

#[test]
fn an_event_says_when_it_begins_in_any_zone() {
    let of = |value: &str| {
        let toml = format!("[[events]]\nevent = \"a\"\nstarts-at = {value}\n");
        read_all(&toml, &[]).map(|mut events| events.remove(0).starts_at_ms)
    };
    assert_eq!(of("2026-12-01T20:00:00+01:00"), Ok(Some(1_796_151_600_000)));
    assert_eq!(of("\"2026-12-01T19:00:00.5Z\""), Ok(Some(1_796_151_600_500)));
    for no in ["\"\"", "\"tomorrow\"", "2026-12-01", "2026-12-01T20:00:00", "1969-01-01T00:00:00Z"]
    {
        let faults = of(no).unwrap_err();
        assert!(faults[0].remedy.contains("zone"), "{no}: {faults:?}");
    }
}

#[test]
fn an_event_without_a_title_is_called_by_its_name() {
    let title = |flags: &[&str]| read_all("", flags).unwrap().remove(0).title;
    assert_eq!(title(&["--event", "final", "--input", "rtmp"]), "final");
    assert_eq!(title(&["--event", "final", "--title", "Cup final"]), "Cup final");
    assert_eq!(title(&["--event", "final"]), "Sightscreen test match");
}

#[test]
fn what_is_wrong_with_one_of_several_events_names_it() {
    let faults = |toml: &str| -> String {
        let faults = read_all(toml, &[]).unwrap_err();
        faults.iter().map(|fault| format!("{fault}\n")).collect()
    };
    let told = faults("[[events]]\nevent = \"a\"\n[[events]]\nevent = \"b\"\nwindow = 1\n");
    assert!(told.contains("window in [[events]] 2 of"), "{told}");
    let told = faults("[[events]]\nevent = \"a\"\nlisten = \"127.0.0.1:1\"\n");
    assert!(told.contains("listen is the origin's"), "{told}");
    let told = faults("[[events]]\nevent = \"a\"\n[[events]]\nevent = \"a\"\n");
    assert!(told.contains("\"a\" is there twice"), "{told}");
    let told = faults("part-ms = 1\n[[events]]\nevent = \"a\"\n[[events]]\nevent = \"b\"\n");
    assert!(told.contains("part-ms in"), "{told}");
    for wrong in ["events = 1", "events = []", "events = [1]"] {
        assert!(faults(wrong).contains("[[events]]"), "{wrong}");
    }
}

#[test]
fn defaults_file_and_flags_in_this_order() {
    let config = read(
        "event = \"final\"\nbreak-every = 90\nlisten = \"127.0.0.1:1\"\nlanguages = [\"ta\"]",
        &["--listen", "127.0.0.1:2"],
    )
    .unwrap();
    assert_eq!(
        (config.event.as_str(), config.listen.port(), config.control.port()),
        ("final", 2, 9081)
    );
    assert_eq!(
        (config.schedule.every_s, config.schedule.length_s, config.table.rules.len()),
        (90, 20, 4)
    );
    assert_eq!((config.languages.as_slice(), config.log), (&["ta".into()][..], LogFormat::Plain));
    assert_eq!(config.snapshots[2].path, "/api/events/final/score");
    assert!(config.operator_token_made && config.operator_token.0.len() == 32);
    assert!(!config.open_playback);
    let two = read("languages = [\"ta\"]", &["--languages", "en, hi"]).unwrap();
    assert_eq!(two.languages, ["en", "hi"]);
}

#[test]
fn all_faults_come_at_once_each_with_its_place_and_remedy() {
    let toml = "listen = \"here\"\nevent = \"../x\"\ncolour = \"red\"\noperator-token = \"hunter2\"\n\
        open-playback = 1\ntitle = [\"a\"]\n\
        [[pods]]\ncohort = \"18-34.x.*.*.*\"\ncreatives = [\"built-in:nothing\"]\n";
    let faults = read(
        toml,
        &["--input=file:/nowhere", "--break-every=21", "--window=many", "--log-level=a=b"],
    )
    .unwrap_err();
    let places: Vec<&str> =
        faults.iter().map(|fault| fault.place.split(' ').next().unwrap()).collect();
    for setting in [
        "listen",
        "event",
        "operator-token",
        "open-playback",
        "pods",
        "--input",
        "--break-every",
        "--window",
        "--log-level",
    ] {
        assert!(places.contains(&setting), "{setting} is not in {places:?}");
    }
    assert_eq!(faults.iter().filter(|fault| fault.place.starts_with("pods")).count(), 2);
    assert!(faults.iter().any(|fault| fault.fault.contains("colour")));
    let text: String = faults.iter().map(ToString::to_string).collect();
    assert!(!text.contains("hunter2"), "{text}");
}

/// The names of the settings in a file.
fn of_a_file() -> BTreeSet<String> {
    let all = toml::Table::try_from(Settings {
        stream_key: Some("".into()),
        keyring: Some("".into()),
        operator_token: Some("".into()),
        edge_secret: Some("".into()),
        edges: Some("".into()),
        playback_plan: Some("".into()),
        territories_allow: Some("".into()),
        territories_deny: Some("".into()),
        media_url: Some("".into()),
        page: Some("".into()),
        slate: Some("".into()),
        title: Some("".into()),
        category: Some("".into()),
        starts_at: Some("".into()),
        tags: Some("".into()),
        segment_ms: Some("".into()),
        part_ms: Some("".into()),
        break_lead: Some("".into()),
        database: Some("".into()),
        rtmp_url: Some("".into()),
        srt: Some("".into()),
        srt_url: Some("".into()),
        playback_url: Some("".into()),
        ..defaults()
    });
    all.unwrap().keys().cloned().collect()
}

#[test]
fn every_setting_is_a_flag_and_is_in_the_file() {
    let command = <CommandLine as clap::CommandFactory>::command();
    let flags = command.get_arguments().filter_map(clap::Arg::get_long).map(str::to_owned);
    assert_eq!(flags.collect::<BTreeSet<_>>(), of_a_file());
}

#[test]
fn help_says_every_default() {
    let command = <CommandLine as clap::CommandFactory>::command();
    let help = with_defaults(command).render_long_help().to_string();
    for default in ["127.0.0.1:9081", "var/origin", "en,hi", "1080", "false", "plain"] {
        assert!(help.contains(&format!("[default: {default}]")), "{default}: {help}");
    }
}

#[test]
fn one_or_two_edges_secrets() {
    let secrets = |toml: &str| -> Result<usize, String> {
        let config = read(toml, &[]).map_err(|faults| faults[0].to_string())?;
        Ok(config.edge_secrets.len())
    };
    let (one, other) = ("0123456789abcdef", "the-next-one-to-come");
    assert_eq!(secrets(""), Ok(0));
    assert_eq!(secrets(&format!("edge-secret = \"{one}\"")), Ok(1));
    assert_eq!(secrets(&format!("edge-secret = \"{one},{other}\"")), Ok(2));
    assert_eq!(secrets(&format!("edge-secret = [\"{one}\", \"{other}\"]")), Ok(2));
    for bad in
        ["short", "", &format!("{one},"), &format!("{one},{other},{one}x"), "0123456789 abcdef"]
    {
        let fault = secrets(&format!("edge-secret = \"{bad}\"")).unwrap_err();
        assert!(fault.contains("edge-secret") && !fault.contains(one), "{fault}");
    }
}

#[test]
fn a_media_url_that_edges_would_refuse_is_a_fault() {
    let config = read("media-url = \"https://media.example.com/sport\"", &[]).unwrap();
    let url = config.document().media.map(|media| media.url);
    assert_eq!(url.as_deref(), Some("https://media.example.com/sport"));
    for bad in ["media.example.com", "https://media.example.com/", "https://a@b", ""] {
        let faults = read(&format!("media-url = \"{bad}\""), &[]).unwrap_err();
        assert!(faults[0].fault.contains("media: expected a URL"), "{bad}: {faults:?}");
    }
}

#[test]
fn fields_of_tables_are_what_they_should_be() {
    let toml = "[[pods]]\ncohort = \"generic\"\ncreatives = \"built-in:bank\"\n\
        [[pods]]\ncreatives = [\"built-in:bank\", 7]\ncolour = 1\n\
        [[snapshots]]\npath = \"/api/events\"\nfresh_s = \"30\"\nstale_s = -1\n";
    let faults = read(toml, &[]).unwrap_err();
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    for part in [
        "pods in",
        "table 1: creatives is",
        "table 2: creatives is",
        "table 2: cohort is missing",
        "\"colour\"",
        "snapshots in",
        "table 1: fresh_s is",
        "table 1: stale_s is",
    ] {
        assert!(told.iter().any(|fault| fault.contains(part)), "{part} is not in {told:#?}");
    }
    assert_eq!(told.len(), 6, "{told:#?}");
}

#[test]
fn a_break_is_no_longer_than_is_set() {
    let of = |toml: &str| read(toml, &[]).map(|config| config.event_settings().schedule);
    assert_eq!(of("").unwrap().longest_s, 600);
    let long = of("break-longest = 900\nbreak-length = 900").unwrap();
    assert_eq!((long.longest_s, long.length_s), (900, 900));
    for (wrong, told) in [
        ("break-length = 601", "shorten it, or raise that"),
        ("break-longest = 10", "shorten it, or raise that"),
        ("break-longest = 3601", "from 2 to 3600"),
    ] {
        let faults = of(wrong).unwrap_err();
        assert!(faults.iter().any(|f| f.remedy.contains(told)), "{wrong}: {faults:?}");
    }
}

#[test]
fn a_reload_tells_which_of_an_events_settings_need_a_restart() {
    let before = read("", &[]).unwrap();
    for (line, setting) in [
        ("x264-preset = \"fast\"", "x264-preset"),
        ("audio-bitrate = 64000", "audio-bitrate"),
        ("creative-max = 60", "a setting of creatives"),
        ("creative-cache-gb = 1", "a setting of creatives"),
        ("creative-loudness = \"keep\"", "a setting of creatives"),
        ("break-longest = 60", "break-longest"),
    ] {
        let after = read(line, &[]).unwrap();
        assert_eq!(before.hidden_differences(&after), [setting], "{line}");
        assert!(before.origin_differences(&after).is_empty(), "{line}");
    }
    let nice = read("encoder-nice = 10", &[]).unwrap();
    assert_eq!((nice.encoder_nice, before.encoder_nice), (10, NICE));
    assert_eq!(before.origin_differences(&nice), ["encoder-nice"]);
    for line in [
        "webhook-pauses = [1]",
        "webhook-timeout = 9",
        "database-connections = 9",
        "database-timeout-ms = 900",
    ] {
        let after = read(line, &[]).unwrap();
        assert_eq!(before.origin_differences(&after), ["database, or a setting of streams"]);
    }
}

#[test]
fn a_file_that_is_no_toml_names_its_line_and_not_its_content() {
    let faults = read("event = \"demo\"\nstream-key = secret-key-1\n", &[]).unwrap_err();
    assert!(
        faults[0].fault.contains("line 2") && !faults[0].to_string().contains("secret-key-1"),
        "{}",
        faults[0]
    );
}

#[test]
fn a_table_of_ones_own() {
    let toml = "[[pods]]\ncohort = \"*.*.*.mobile.hi\"\ncreatives = [\"built-in:car\", \"ads/shoe.mp4\"]\n\
        [[pods]]\ncohort = \"generic\"\ncreatives = [\"built-in:bank\"]\n";
    let table = read(toml, &[]).unwrap().table;
    assert!(table.rules[0].pattern.matches("18-34.f.metro.mobile.hi"));
    assert_eq!(table.creatives(), ["built-in:car", "ads/shoe.mp4", "built-in:bank"]);
}
