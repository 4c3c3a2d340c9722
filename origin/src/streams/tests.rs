//! The database, on both engines: every body runs on `SQLite` and on `PostgreSQL`.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::rows::clock;
use super::tokens::digest;
use super::*;
use crate::config::{Config, Settings, StreamsConfig};
use crate::event::State;
use crate::secret::Secret;

#[path = "../../tests/common/postgres.rs"]
mod postgres;

/// The usual settings, with the database of this URL.
pub(super) fn kept_in(url: String) -> StreamsConfig {
    let usual = Config::read(&Settings::default(), None).unwrap().remove(0).streams;
    StreamsConfig { database: Secret(url), ..usual }
}

/// Runs a body on an empty database of each engine.
async fn on_both<F: Future<Output = ()>>(body: impl Fn(Database) -> F) {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite:{}", folder.path().join("streams.db").display());
    let server = tokio::task::spawn_blocking(postgres::shared).await.unwrap();
    for url in [Some(file), server.as_ref().map(|server| server.database())].into_iter().flatten() {
        let database = Database::new(&kept_in(url)).unwrap();
        database.migrate().await.unwrap();
        // A second start finds its tables.
        database.migrate().await.unwrap();
        body(database.clone()).await;
        database.close().await;
    }
}

fn settings(title: &str, category: &str, tags: &[&str]) -> Value {
    json!({"title": title, "category": category, "tags": tags, "dvr_s": 600})
}

async fn make(database: &Database, id: &str, settings: &Value) {
    database.insert(id, MadeBy::Api, settings, &digest(id)).await.unwrap();
}

#[tokio::test]
async fn a_stream_is_kept_with_its_status_settings_and_keys() {
    on_both(async |database| {
        let body = settings("Final", "football", &["cup"]);
        make(&database, "a", &body).await;
        let again = database.insert("a", MadeBy::Api, &body, "").await;
        assert!(matches!(again, Err(DatabaseError::Taken)), "{again:?}");
        let row = database.stream("a").await.unwrap().unwrap();
        assert_eq!((row.status, row.source, row.steps), (State::Ready, MadeBy::Api, 1));
        assert_eq!((row.settings, row.key), (body, digest("a")));
        assert_eq!((row.ended_ms, row.old_key.as_str(), row.old_key_until_ms), (0, "", 0));
        assert_eq!(database.running().await.unwrap(), 1);

        database.set_settings("a", &settings("Semi", "tennis", &[])).await.unwrap();
        database.set_status("a", State::Live, 5).await.unwrap();
        database.set_status("a", State::Live, 6).await.unwrap();
        let row = database.stream("a").await.unwrap().unwrap();
        assert_eq!((row.steps, row.changed_ms, &row.settings["title"]), (2, 5, &json!("Semi")));

        assert!(database.rotate("a", "new", clock() + 60_000).await.unwrap());
        database.forget_old_key("a", clock()).await.unwrap();
        let row = database.stream("a").await.unwrap().unwrap();
        assert_eq!((row.key.as_str(), row.old_key), ("new", digest("a")));
        database.forget_old_key("a", clock() + 61_000).await.unwrap();
        assert_eq!(database.stream("a").await.unwrap().unwrap().old_key, "");
        assert!(!database.rotate("b", "new", 0).await.unwrap());

        database.set_status("a", State::Ended, 7).await.unwrap();
        // What was seen before it ended, and is told late.
        database.set_status("a", State::Interrupted, 8).await.unwrap();
        let row = database.stream("a").await.unwrap().unwrap();
        assert_eq!((row.status, row.ended_ms, row.steps), (State::Ended, 7, 3));
        assert_eq!(database.running().await.unwrap(), 0);
        assert!(database.remove("a").await.unwrap() && !database.remove("a").await.unwrap());
        assert_eq!(database.stream("a").await.unwrap(), None);
    })
    .await;
}

/// 10,000 on a disk that syncs each one would take minutes; the list is read, not written.
async fn fill(database: &Database, count: i64) {
    let insert = "INSERT INTO streams (id, source, status, category, search, settings, key_digest, \
        old_key_digest, old_key_until_ms, created_ms, changed_ms, ended_ms, steps) \
        VALUES ($1, 'api', $2, $3, $4, '{}', '', '', 0, $5, $5, 0, 1)";
    let mut all = database.pool().begin().await.unwrap();
    for number in 0..count {
        let status = State::ALL[usize::try_from(number % 4).unwrap()];
        let row = sqlx::query(insert).bind(format!("s-{number}")).bind(status.name());
        let row = row.bind(if number % 10 == 0 { "football" } else { "tennis" });
        // Many are of the same moment: the identifier decides.
        row.bind(format!("s-{number} match {number}"))
            .bind(number / 100)
            .execute(&mut *all)
            .await
            .unwrap();
    }
    all.commit().await.unwrap();
}

async fn all_of(database: &Database, mut query: Query) -> Vec<String> {
    let mut ids = Vec::new();
    loop {
        let page = database.streams(&query).await.unwrap();
        let Some(last) = page.last() else { return ids };
        query.after = Some((last.created_ms, last.id.clone()));
        ids.extend(page.into_iter().map(|row| row.id));
    }
}

#[tokio::test]
async fn ten_thousand_streams_are_listed_by_pages_each_once() {
    on_both(async |database| {
        fill(&database, 10_000).await;
        let query = Query { limit: 200, ..Query::default() };
        let ids = all_of(&database, query.clone()).await;
        assert_eq!(ids.len(), 10_000);
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 10_000);
        assert!(ids[0].starts_with("s-99") && ids[9_999].len() <= 4, "{}", ids[9_999]);

        // What comes in between is not on the pages after, and shifts none.
        let first = database.streams(&query).await.unwrap();
        make(&database, "between", &settings("x", "", &[])).await;
        let last = first.last().unwrap();
        let after = Some((last.created_ms, last.id.clone()));
        let second = database.streams(&Query { after, ..query.clone() }).await.unwrap();
        assert_eq!(second[0].id, ids[200]);

        let live =
            Query { status: Some(State::Live), category: "tennis".to_owned(), ..query.clone() };
        assert_eq!(all_of(&database, live).await.len(), 2500);
        for (text, count) in
            [("MATCH 77", 111), ("match 7777", 1), ("%", 0), ("_", 0), ("\\", 0), ("'", 0)]
        {
            let found = Query { text: text.to_owned(), ..query.clone() };
            assert_eq!(all_of(&database, found).await.len(), count, "{text}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_token_is_good_until_it_is_revoked_and_only_its_digest_is_kept() {
    on_both(async |database| {
        let (token, secret) = database.make_token("platform", Role::Operator).await.unwrap();
        let actor = database.bearer(&secret).await.unwrap().unwrap();
        assert_eq!((actor.id.as_str(), actor.role), (token.id.as_str(), Role::Operator));
        for wrong in ["", "sst_", &secret[..20], &secret.to_uppercase(), &digest(&secret)] {
            assert_eq!(database.bearer(wrong).await.unwrap(), None, "{wrong}");
        }
        let kept =
            sqlx::query("SELECT digest FROM tokens").fetch_one(database.pool()).await.unwrap();
        let kept: String = sqlx::Row::try_get(&kept, 0).unwrap();
        assert!(kept == digest(&secret) && !kept.contains(&secret[4..]));
        assert!(database.revoke_token(&token.id).await.unwrap());
        assert!(!database.revoke_token(&token.id).await.unwrap());
        assert_eq!(database.bearer(&secret).await.unwrap(), None);
        assert!(database.tokens().await.unwrap()[0].revoked_ms > 0);
    })
    .await;
}

#[tokio::test]
async fn what_was_done_is_noted_and_forgotten_in_its_time() {
    on_both(async |database| {
        let role = Role::Admin;
        let actor = Actor { id: "t1".to_owned(), name: "Ann".to_owned(), role };
        for (action, target) in
            [("POST /api/v1/streams", "a"), ("DELETE /x", "b"), ("POST /y", "a")]
        {
            database.note(&actor, action, target, 201).await.unwrap();
        }
        let page = Page { target: "a".to_owned(), limit: 1, after: None };
        let first = database.audit(&page).await.unwrap();
        assert_eq!((first[0].actor_name.as_str(), first[0].status), ("Ann", 201));
        let after = Some((first[0].at_ms, first[0].id.clone()));
        let second = database.audit(&Page { after, ..page.clone() }).await.unwrap();
        assert!(second.len() == 1 && second[0].id != first[0].id);
        database.trim_audit(1).await.unwrap();
        let all = Page { limit: 10, ..Page::default() };
        assert_eq!(database.audit(&all).await.unwrap().len(), 3);
        sqlx::query("UPDATE audit SET at_ms = 5").execute(database.pool()).await.unwrap();
        database.trim_audit(1).await.unwrap();
        assert_eq!(database.audit(&all).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_request_with_a_key_is_carried_out_once() {
    on_both(async |database| {
        let begin = async |print: &str| database.begin("ann", "k", print).await.unwrap();
        assert_eq!(begin("one").await, Begun::New);
        assert_eq!(begin("one").await, Begun::Running);
        assert_eq!(begin("two").await, Begun::Another);
        let kept = Kept { status: 201, location: "/x".to_owned(), body: "{}".to_owned() };
        database.answer("ann", "k", &kept).await.unwrap();
        assert_eq!(begin("one").await, Begun::Done(kept));
        assert_eq!(begin("two").await, Begun::Another);
        assert_eq!(database.begin("bob", "k", "two").await.unwrap(), Begun::New);
        database.give_up("bob", "k").await.unwrap();
        assert_eq!(database.begin("bob", "k", "three").await.unwrap(), Begun::New);
        // Its process ended a minute ago.
        let age = "UPDATE answers SET at_ms = at_ms - 61000 WHERE actor = 'bob'";
        sqlx::query(age).execute(database.pool()).await.unwrap();
        assert_eq!(database.begin("bob", "k", "three").await.unwrap(), Begun::New);
        // An answer is kept for a day.
        let age = "UPDATE answers SET at_ms = at_ms - 86400001";
        sqlx::query(age).execute(database.pool()).await.unwrap();
        assert_eq!(begin("two").await, Begun::New);
        database.trim_answers().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn webhooks_hear_of_each_stream_in_order() {
    on_both(async |database| {
        make(&database, "before", &settings("x", "", &[])).await;
        let (hook, secret) = database.make_hook("https://a/").await.unwrap().unwrap();
        assert!(secret.starts_with("whsec_") && database.hooks().await.unwrap() == [hook.clone()]);
        make(&database, "a", &settings("x", "", &[])).await;
        make(&database, "b", &settings("x", "", &[])).await;
        database.set_status("a", State::Live, clock()).await.unwrap();
        let due = async || {
            let due = database.due(16).await.unwrap();
            let told = |one: &hooks::Delivery| {
                let body: Value = serde_json::from_str(&one.body).unwrap();
                format!("{} {}", one.stream, body["type"].as_str().unwrap())
            };
            let mut all: Vec<(String, String)> =
                due.iter().map(|d| (told(d), d.id.clone())).collect();
            all.sort();
            all
        };
        let first = due().await;
        let names: Vec<&str> = first.iter().map(|(told, _)| told.as_str()).collect();
        assert_eq!(names, ["a stream.ready", "b stream.ready"]);
        // What waits holds back its own stream alone.
        database.later(&first[0].1, 60_000).await.unwrap();
        database.told(&first[1].1).await.unwrap();
        assert_eq!(due().await, []);
        database.told(&first[0].1).await.unwrap();
        assert_eq!(due().await[0].0, "a stream.live");
        for _ in 1..16 {
            assert!(database.make_hook("https://b/").await.unwrap().is_some());
        }
        assert!(database.make_hook("https://c/").await.unwrap().is_none());
        assert!(database.remove_hook(&hook.id).await.unwrap());
        assert!(!database.remove_hook(&hook.id).await.unwrap());
        assert_eq!(due().await, []);
    })
    .await;
}

#[tokio::test]
async fn a_database_that_is_gone_says_so_in_time_and_comes_back() {
    let Some(server) = tokio::task::spawn_blocking(postgres::Postgres::start).await.unwrap() else {
        return;
    };
    let database = Database::new(&kept_in(server.database())).unwrap();
    server.stop();
    assert!(matches!(database.migrate().await, Err(DatabaseError::Gone(_))));
    server.go_on();
    database.migrate().await.unwrap();
    make(&database, "a", &settings("x", "", &[])).await;
    server.stop();
    let gone = database.stream("a").await;
    assert!(matches!(gone, Err(DatabaseError::Gone(_))), "{gone:?}");
    server.go_on();
    let back = tokio::time::timeout(Duration::from_secs(60), async {
        while database.stream("a").await.is_err() {}
    });
    back.await.unwrap();
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_without_its_password() {
    for url in ["postgres://ann:hunter2@[", "postgres://ann:hunter2@a:port/b"] {
        let error = Database::new(&kept_in(url.to_owned())).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_server_has_as_many_connections_as_is_set_and_a_file_has_one() {
    for (url, connections, most) in
        [("postgres://a/b", 8, 8), ("postgres://a/b", 3, 3), ("sqlite::memory:", 3, 1)]
    {
        let config = StreamsConfig { database_connections: connections, ..kept_in(url.to_owned()) };
        let database = Database::new(&config).unwrap();
        assert_eq!(database.pool().options().get_max_connections(), most, "{url}");
    }
}

#[tokio::test]
async fn a_query_may_take_as_long_as_is_set_and_a_connection_less() {
    let of = |wait_ms| {
        let database_timeout = Duration::from_millis(wait_ms);
        let usual = kept_in("postgres://a/b".to_owned());
        Database::new(&StreamsConfig { database_timeout, ..usual }).unwrap()
    };
    let takes = async |database: &Database, seconds| {
        let work = async {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok::<_, sqlx::Error>(())
        };
        database.within(work).await
    };
    let (short, long) = (of(500), of(10_000));
    let gone = takes(&short, 60).await;
    assert!(matches!(gone, Err(DatabaseError::Gone(_))), "{gone:?}");
    assert!(takes(&long, 1).await.is_ok());
    for (database, limit) in [(short, 500), (long, 10_000)] {
        assert!(database.pool().options().get_acquire_timeout().as_millis() < limit);
    }
}
