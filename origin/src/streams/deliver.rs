//! Delivers webhooks: signed, one stream's changes in order, and again until they are taken.
//!
//! The signature is that of Standard Webhooks 1.0: `webhook-signature` is `v1,` and the base64 of
//! the HMAC-SHA256, by the webhook's secret, of `{webhook-id}.{webhook-timestamp}.{body}`. The
//! timestamp is that of the attempt, in seconds, so that a receiver can refuse what is old.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use http::{Request, header};
use sha2::Sha256;
use tokio::task::JoinSet;

use super::database::{Database, DatabaseError};
use super::hooks::{Delivery, SECRET_PREFIX};
use crate::clock::wall_ms;
use crate::config::StreamsConfig;
use crate::outbound::{self, AskError, Bounds, Target};
use crate::secret::Secret;
use crate::told::Told;

/// Between two looks at what is due.
const LOOK: Duration = Duration::from_millis(500);
/// Delivered at the same time.
const AT_ONCE: u32 = 16;

/// Delivers what is due, for as long as it is polled.
pub(super) async fn keep(database: Database, rules: StreamsConfig) {
    let rules = Arc::new(rules);
    let mut told = Told::default();
    loop {
        match database.due(AT_ONCE).await {
            Ok(due) if !due.is_empty() => {
                let mut all = JoinSet::new();
                for delivery in due {
                    all.spawn(deliver(database.clone(), delivery, Arc::clone(&rules)));
                }
                while let Some(one) = all.join_next().await {
                    if let Ok(Err(error)) = one
                        && told.due()
                    {
                        tracing::warn!(%error, "a webhook was tried and that cannot be kept");
                    }
                }
                // What came next in a stream may be due already.
                tokio::time::sleep(LOOK / 10).await;
            }
            Ok(_) => tokio::time::sleep(LOOK).await,
            Err(error) => {
                // That it is gone is told once, by who looks at the streams.
                if !matches!(error, DatabaseError::Gone(_)) && told.due() {
                    tracing::warn!(%error, "webhooks wait for the database");
                }
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

async fn deliver(
    database: Database,
    delivery: Delivery,
    rules: Arc<StreamsConfig>,
) -> Result<(), DatabaseError> {
    let Delivery { id, webhook, stream, attempts, .. } = &delivery;
    match attempt(&delivery, &rules).await {
        Ok(()) => database.told(id).await,
        Err(error) if attempts.saturating_add(1) >= rules.webhook_attempts => {
            let attempts = attempts + 1;
            tracing::error!(event = stream, webhook, attempts, %error, "a webhook is given up");
            database.told(id).await
        }
        Err(error) => {
            let wait_s = pause_s(&rules.webhook_pauses_s, *attempts);
            tracing::warn!(event = stream, webhook, wait_s, %error, "a webhook is tried again");
            database.later(id, i64::from(wait_s) * 1000).await
        }
    }
}

async fn attempt(delivery: &Delivery, rules: &StreamsConfig) -> Result<(), AskError> {
    let target = Target::read(&delivery.url)?;
    let seconds = wall_ms() / 1000;
    let request = Request::post(&target.path)
        .header(header::CONTENT_TYPE, "application/json")
        .header("webhook-id", &delivery.id)
        .header("webhook-timestamp", seconds)
        .header("webhook-signature", sign(delivery, seconds));
    let bounds =
        Bounds { private: rules.webhook_private, within: rules.webhook_timeout, body_max: 0 };
    let body = Bytes::from(delivery.body.clone());
    outbound::ask(&target, request, body, bounds).await.map(drop)
}

/// The pause after so many attempts before; the last is repeated.
fn pause_s(pauses: &[u32], attempts: u32) -> u32 {
    let at = usize::try_from(attempts).unwrap_or(usize::MAX);
    pauses.get(at).or(pauses.last()).copied().unwrap_or(1)
}

fn sign(delivery: &Delivery, seconds: u64) -> String {
    let Secret(secret) = &delivery.secret;
    let text = format!("{}.{seconds}.{}", delivery.id, delivery.body);
    let key = secret.strip_prefix(SECRET_PREFIX).and_then(|key| STANDARD.decode(key).ok());
    // A key of any length will do.
    let mac = Hmac::<Sha256>::new_from_slice(&key.unwrap_or_default());
    let mac = mac.map(|mac| mac.chain_update(text));
    let mac = mac.map(|mac| STANDARD.encode(mac.finalize().into_bytes()));
    format!("v1,{}", mac.unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::rows::{MadeBy, clock};
    use super::super::tests::kept_in;
    use super::*;

    #[tokio::test]
    async fn a_receiver_that_says_nothing_is_waited_for_and_asked_again_as_is_set() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("streams.db").display());
        let rules = StreamsConfig {
            webhook_timeout: Duration::from_secs(1),
            webhook_pauses_s: vec![5000, 9000],
            webhook_private: true,
            ..kept_in(url)
        };
        let database = Database::new(&rules).unwrap();
        database.migrate().await.unwrap();
        // The system takes the connection, and nobody reads from it.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        database.make_hook(&url).await.unwrap().unwrap();
        database.insert("a", MadeBy::Api, &serde_json::json!({}), "").await.unwrap();

        let rules = Arc::new(rules);
        let late = attempt(&database.due(1).await.unwrap()[0], &rules).await.unwrap_err();
        assert_eq!(late.to_string(), "no answer in 1 s");
        for pause_s in [5000, 9000, 9000] {
            let before = clock();
            let delivery = database.due(1).await.unwrap().remove(0);
            deliver(database.clone(), delivery, Arc::clone(&rules)).await.unwrap();
            let next = sqlx::query_scalar("SELECT next_ms FROM deliveries");
            let next: i64 = next.fetch_one(database.pool()).await.unwrap();
            assert!((before + pause_s * 1000..clock() + (pause_s + 1) * 1000).contains(&next));
            let now = sqlx::query("UPDATE deliveries SET next_ms = 0");
            now.execute(database.pool()).await.unwrap();
        }
    }

    /// The example of the Standard Webhooks specification.
    #[test]
    fn a_call_is_signed_as_the_standard_says() {
        let delivery = Delivery {
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned(),
            webhook: String::new(),
            stream: String::new(),
            body: "{\"test\": 2432232314}".to_owned(),
            attempts: 0,
            url: String::new(),
            secret: Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()),
        };
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(sign(&delivery, 1_614_265_330), signature);
    }

    #[test]
    fn each_pause_comes_in_its_turn_and_the_last_again_and_again() {
        let pauses = [1, 5, 30, 3600];
        let after = [0, 1, 3, 4, u32::MAX].map(|attempts| pause_s(&pauses, attempts));
        assert_eq!(after, [1, 5, 3600, 3600, 3600]);
    }
}
