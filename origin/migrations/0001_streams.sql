-- For SQLite and PostgreSQL alike: texts and whole numbers, times in Unix milliseconds, no NULL.
CREATE TABLE streams (
    id TEXT NOT NULL PRIMARY KEY,
    source TEXT NOT NULL,
    status TEXT NOT NULL,
    category TEXT NOT NULL,
    search TEXT NOT NULL,
    settings TEXT NOT NULL,
    key_digest TEXT NOT NULL,
    old_key_digest TEXT NOT NULL,
    old_key_until_ms BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    changed_ms BIGINT NOT NULL,
    ended_ms BIGINT NOT NULL,
    steps BIGINT NOT NULL
);
CREATE INDEX streams_by_age ON streams (created_ms, id);
CREATE INDEX streams_by_status ON streams (status, created_ms, id);

CREATE TABLE tokens (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    created_ms BIGINT NOT NULL,
    revoked_ms BIGINT NOT NULL
);

CREATE TABLE audit (
    id TEXT NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    role TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    status BIGINT NOT NULL
);
CREATE INDEX audit_by_age ON audit (at_ms, id);

CREATE TABLE answers (
    actor TEXT NOT NULL,
    name TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status BIGINT NOT NULL,
    location TEXT NOT NULL,
    body TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (actor, name)
);

CREATE TABLE webhooks (
    id TEXT NOT NULL PRIMARY KEY,
    url TEXT NOT NULL,
    secret TEXT NOT NULL,
    created_ms BIGINT NOT NULL
);

CREATE TABLE deliveries (
    id TEXT NOT NULL PRIMARY KEY,
    webhook TEXT NOT NULL,
    stream TEXT NOT NULL,
    step BIGINT NOT NULL,
    body TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    next_ms BIGINT NOT NULL
);
CREATE INDEX deliveries_in_order ON deliveries (webhook, stream, step);
CREATE INDEX deliveries_by_time ON deliveries (next_ms);
