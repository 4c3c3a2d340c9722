//! Who may do what: tokens with roles, kept as digests.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::Row as _;
use sqlx::any::AnyRow;
use subtle::ConstantTimeEq;

use super::database::{Database, DatabaseError};
use super::rows::clock;
use crate::documents::keys::random_hex;
use sightscreen_core::keyring::to_hex;

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;
/// What tokens begin with, so that one that was published by mistake is found.
const PREFIX: &str = "sst_";

/// What a token lets its bearer do. Each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read.
    Viewer,
    /// Breaks, switches, keys, and the end.
    Operator,
    /// Make, change and delete streams, tokens and webhooks.
    Admin,
}

impl Role {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Viewer, Self::Operator, Self::Admin].into_iter().find(|role| role.name() == name)
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The token's identifier; `configuration` for the token of the settings.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// What it may do.
    pub role: Role,
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Token {
    /// Identifier.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was made, in Unix milliseconds.
    pub created_ms: i64,
    /// When it was revoked; 0: it is good.
    pub revoked_ms: i64,
}

/// The digest of a secret in hex.
pub(super) fn digest(secret: &str) -> String {
    to_hex(&Sha256::digest(secret.as_bytes()))
}

/// Whether two texts are the same, in a time that does not tell how far they are.
#[must_use]
pub fn same(one: &str, other: &str) -> bool {
    digest(one).as_bytes().ct_eq(digest(other).as_bytes()).into()
}

impl Database {
    /// Makes a token. Returns it and its secret, which is kept nowhere.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn make_token(
        &self,
        name: &str,
        role: Role,
    ) -> Result<(Token, String), DatabaseError> {
        let secret = format!("{PREFIX}{}", random_hex(TOKEN_BYTES));
        let token = Token {
            id: random_hex(8),
            name: name.to_owned(),
            role,
            created_ms: clock(),
            revoked_ms: 0,
        };
        let insert = sqlx::query(
            "INSERT INTO tokens (id, name, role, digest, created_ms, revoked_ms) \
             VALUES ($1, $2, $3, $4, $5, 0)",
        );
        let insert = insert.bind(&token.id).bind(name).bind(role.name()).bind(digest(&secret));
        self.within(insert.bind(token.created_ms).execute(self.pool())).await?;
        Ok((token, secret))
    }

    /// Who bears this token, if it is good.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn bearer(&self, secret: &str) -> Result<Option<Actor>, DatabaseError> {
        if !secret.starts_with(PREFIX) {
            return Ok(None);
        }
        // It is found by its digest, so that the time of the search tells nothing of the secret.
        let found = sqlx::query(
            "SELECT id, name, role, created_ms, revoked_ms FROM tokens \
             WHERE digest = $1 AND revoked_ms = 0",
        );
        let found = self.within(found.bind(digest(secret)).fetch_optional(self.pool())).await?;
        let token = found.as_ref().map(token).transpose()?;
        Ok(token.map(|Token { id, name, role, .. }| Actor { id, name, role }))
    }

    /// All tokens, the newest first.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn tokens(&self) -> Result<Vec<Token>, DatabaseError> {
        let all = sqlx::query(
            "SELECT id, name, role, created_ms, revoked_ms FROM tokens \
             ORDER BY created_ms DESC, id DESC LIMIT 1000",
        );
        let all = self.within(all.fetch_all(self.pool())).await?;
        Ok(all.iter().map(token).collect::<Result<_, _>>()?)
    }

    /// Revokes a token; whether it was good.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn revoke_token(&self, id: &str) -> Result<bool, DatabaseError> {
        let update =
            sqlx::query("UPDATE tokens SET revoked_ms = $2 WHERE id = $1 AND revoked_ms = 0");
        let revoked = self.within(update.bind(id).bind(clock()).execute(self.pool())).await?;
        Ok(revoked.rows_affected() > 0)
    }
}

fn token(from: &AnyRow) -> Result<Token, sqlx::Error> {
    let role: String = from.try_get("role")?;
    Ok(Token {
        id: from.try_get("id")?,
        name: from.try_get("name")?,
        role: Role::named(&role)
            .ok_or_else(|| sqlx::Error::Decode("a role that is none".into()))?,
        created_ms: from.try_get("created_ms")?,
        revoked_ms: from.try_get("revoked_ms")?,
    })
}
