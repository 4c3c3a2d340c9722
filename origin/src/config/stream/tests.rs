//! A stream's settings as the API has them.

use super::*;
use proptest::prelude::*;

fn template() -> Template {
    Template { common: Table::new() }
}

#[test]
fn all_settings_of_a_stream_read_again_are_the_same() {
    for body in [
        json!({"title": "Final"}),
        json!({
            "title": "Final", "category": "football", "tags": ["cup", "hi"],
            "starts_at": "2026-12-01T20:00:00.000Z",
            "latency": "standard", "languages": ["ta"], "ladder": {"max_height": 360},
            "frame_rate": "59.94", "window_s": 30, "dvr_s": 3600, "playback_plan": "gold",
            "plans": [{"id": "gold", "max_height": 1080}], "consent": "assumed",
            "cohorts": [{"name": "team", "values": ["red", "blue"], "default": "red",
                         "aliases": {"rot": "red"}}],
            "territories": {"allow": ["IN"], "unknown": "allow"},
            "pass": {"ttl_s": 600, "session_s": 3600},
            "breaks": {"first_s": 60, "every_s": 300, "length_s": 30, "lead_s": 10},
            "pods": [{"cohort": "red", "creatives": ["built-in:car"]}],
            "media_url": "https://cdn.example",
        }),
    ] {
        let first = template().stream("final", &body).unwrap().body();
        for (name, value) in body.as_object().unwrap() {
            let same = first.get(name) == Some(value);
            let shaped = ["frame_rate", "pods", "ladder"].contains(&name.as_str());
            assert!(same || shaped, "{name}: {first}");
        }
        let again = template().stream("final", &first).unwrap().body();
        assert_eq!(again, first);
    }
}

#[test]
fn standard_latency_has_longer_segments_unless_set() {
    let lengths = |body: Value| {
        let config = template().stream("a", &body).unwrap();
        (config.segment_ms, config.part_ms, config.schedule.lead_s)
    };
    assert_eq!(lengths(json!({"title": "a"})), (2000, 200, 4));
    assert_eq!(lengths(json!({"title": "a", "latency": "standard"})), (4000, 1000, 8));
    let set = json!({"title": "a", "latency": "standard", "segment_ms": 3000});
    assert_eq!(lengths(set), (3000, 1000, 8));
}

#[test]
fn what_is_wrong_is_told_by_its_pointer() {
    for (body, pointer) in [
        (json!([]), ""),
        (json!({}), "/title"),
        (json!({"title": 5}), "/title"),
        (json!({"title": "a\u{7}"}), "/title"),
        (json!({"title": "a", "tags": ["x", 1]}), "/tags"),
        (json!({"title": "a", "tags": vec!["x"; 33]}), "/tags"),
        (json!({"title": "a", "starts_at": "soon"}), "/starts_at"),
        (json!({"title": "a", "starts_at": 1_796_151_600_000_u64}), "/starts_at"),
        (json!({"title": "a", "window_s": 1}), "/window_s"),
        (json!({"title": "a", "window_s": "60"}), "/window_s"),
        (json!({"title": "a", "window_s": 60.5}), "/window_s"),
        (json!({"title": "a", "dvr_s": 20}), "/dvr_s"),
        (json!({"title": "a", "ladder": {"max_height": 10}}), "/ladder/max_height"),
        (json!({"title": "a", "ladder": {"width": 10}}), "/ladder/width"),
        (json!({"title": "a", "ladder": 10}), "/ladder"),
        (json!({"title": "a", "listen": "127.0.0.1:1"}), "/listen"),
        (json!({"title": "a", "a/b": 1}), "/a~1b"),
        (json!({"title": "a", "input": "file:/etc/passwd"}), "/input"),
        (json!({"title": "a", "frame_rate": "500"}), "/frame_rate"),
        (json!({"title": "a", "frame_rate": "30/0"}), "/frame_rate"),
        (json!({"title": "a", "consent": "maybe"}), "/consent"),
        (json!({"title": "a", "plans": [{"id": "x"}]}), "/plans"),
        (json!({"title": "a", "pods": [{"cohort": "x", "creatives": []}]}), "/pods"),
        (json!({"title": "a", "playback_plan": "gold"}), "/playback_plan"),
        (json!({"title": "a", "territories": {"allow": ["India"]}}), ""),
    ] {
        let faults = template().stream("a", &body).err().unwrap_or_default();
        let found = faults.iter().any(|fault| fault.place == pointer);
        assert!(found, "{body}: {faults:?}");
    }
}

#[test]
fn null_is_for_what_is_there_already() {
    let of = |body| template().new_stream("a", &body).map(|config| config.title);
    assert_eq!(of(json!({"title": "a", "ladder": {}})), Ok("a".to_owned()));
    for (body, place) in [
        (json!({"title": "a", "latency": null}), "/latency"),
        (json!({"title": "a", "ladder": {"max_height": null}}), "/ladder/max_height"),
        (json!({"title": null}), "/title"),
    ] {
        let faults = of(body).unwrap_err();
        let places: Vec<&str> = faults.iter().map(|fault| fault.place.as_str()).collect();
        assert_eq!(places, [place], "{faults:?}");
    }
}

#[test]
fn what_cannot_change_is_told_with_its_reason() {
    let before = template().stream("a", &json!({"title": "a"})).unwrap().body();
    let mut after = before.clone();
    after["title"] = json!("b");
    assert_eq!(fixed_differences(&before, &after), []);
    after["window_s"] = json!(120);
    let fixed = fixed_differences(&before, &after);
    assert_eq!(fixed, [("/window_s", SETTLED)]);
}

/// Values of every kind, under names that are fields and names that are none.
fn bodies() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        "[a-z0-9*.:/-]{0,12}".prop_map(Value::from),
    ];
    let names = body_fields().iter().flat_map(|field| field.pointer.split('/').skip(1));
    let known = ["id", "name", "values", "default", "cohort", "creatives", "max_height", "aliases"];
    let names: Vec<String> = names.chain(known).map(str::to_owned).collect();
    let name = prop_oneof![9 => proptest::sample::select(names), 1 => "[a-z~/]{0,6}"];
    let inner = scalar.prop_recursive(4, 64, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name.clone(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    inner.prop_map(|mut body| {
        // Most bodies would fail for want of it.
        if let Some(members) = body.as_object_mut() {
            members.entry("title").or_insert(json!("a"));
        }
        body
    })
}

proptest! {
    #[test]
    fn whatever_is_asked_for_is_refused_or_reads_back_the_same(body in bodies()) {
        match template().stream("a", &body) {
            Ok(config) => {
                let first = config.body();
                let again = template().stream("a", &first).map(|config| config.body());
                prop_assert_eq!(again, Ok(first));
            }
            Err(faults) => prop_assert!(!faults.is_empty()),
        }
    }
}

#[test]
fn a_stream_that_was_kept_goes_on_where_the_longest_break_is_shorter_now() {
    let kept = json!({"title": "a", "breaks": {"length_s": 700}});
    let length = |common: &str, body: &Value| {
        let template = Template { common: common.parse().unwrap() };
        template.kept("a", body).map(|config| config.schedule.length_s)
    };
    for (common, expected) in [
        ("break-longest = 900", 700),
        ("break-longest = 300", 300),
        ("break-longest = \"300\"", 300),
        // The default.
        ("", 600),
    ] {
        assert_eq!(length(common, &kept).unwrap(), expected, "{common}");
    }
    // Whoever asks for it now is told.
    assert!(template().stream("a", &kept).is_err());
}
