-- Written in what SQLite and PostgreSQL have in common.

-- A station is a computer that writes a ledger. Its events are one chain.
CREATE TABLE stations (
    id    TEXT NOT NULL PRIMARY KEY, -- UUID
    label TEXT NOT NULL UNIQUE       -- for people: the host's name
);

-- Everything but `hash` is an input of the hash: see chain.rs.
CREATE TABLE events (
    station        TEXT   NOT NULL REFERENCES stations (id),
    sequence       BIGINT NOT NULL, -- 1, 2, 3 … of the station
    time           BIGINT NOT NULL, -- microseconds since 1970 UTC, by the station's clock
    job            BIGINT,          -- 1, 2, 3 … of the station
    kind           TEXT   NOT NULL,
    standing       TEXT   NOT NULL CHECK (standing IN ('observed', 'claimed', 'intended')),
    device         TEXT,            -- UUID of the phone that the event is about
    transaction_id TEXT,            -- 32 hexadecimal digits
    body           TEXT   NOT NULL, -- a JSON object
    previous       BYTEA  NOT NULL,
    hash           BYTEA  NOT NULL,
    PRIMARY KEY (station, sequence)
);

CREATE INDEX events_by_job ON events (station, job);
CREATE INDEX events_by_device ON events (device, kind);
CREATE INDEX events_by_transaction ON events (transaction_id);
CREATE INDEX events_by_kind ON events (kind);
