"""The schema, as the steps that made it.

Owns every table and index. A step is never edited once released: the next one is appended, and
``user_version`` counts those applied (``migrations.py``).

The tables are meant to be read with the ``sqlite3`` program: what is stored as JSON has its
main fields as generated columns, so that nothing is stored twice. An index exists only where a
query of alertd's own needs it. The event log's has one entry a batch: one an event would cost 15
times the write.
"""

from __future__ import annotations

from typing import Final

_INITIAL: Final = """
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('applied_position', 0);

CREATE TABLE rules (
    id          TEXT PRIMARY KEY,
    version     INTEGER NOT NULL,
    source      TEXT NOT NULL,
    created_us  INTEGER NOT NULL,
    updated_us  INTEGER NOT NULL,
    spec        TEXT NOT NULL, -- the rule as its author wrote it, but for its notifications
    name        TEXT AS (json_extract(spec, '$.name')),
    type        TEXT AS (json_extract(spec, '$.type')),
    metric_name TEXT AS (json_extract(spec, '$.metricName')),
    threshold   REAL AS (json_extract(spec, '$.threshold')),
    window_secs REAL AS (json_extract(spec, '$.windowDurationSecs')),
    severity    TEXT AS (json_extract(spec, '$.severity')),
    active      INTEGER AS (json_extract(spec, '$.isActive'))
) STRICT;
CREATE UNIQUE INDEX rules_by_name ON rules (name);

CREATE TABLE rule_notifications (
    rule_id  TEXT NOT NULL REFERENCES rules ON DELETE CASCADE,
    ordinal  INTEGER NOT NULL,
    channel  TEXT NOT NULL,
    endpoint TEXT,
    PRIMARY KEY (rule_id, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE series (
    id          INTEGER PRIMARY KEY,
    metric_name TEXT NOT NULL,
    labels      TEXT NOT NULL -- a JSON object
) STRICT;

CREATE TABLE event_log (
    position    INTEGER PRIMARY KEY,
    received_us INTEGER NOT NULL,
    kind        TEXT NOT NULL CHECK (kind IN ('events', 'rules')),
    count       INTEGER NOT NULL,
    has_ids     INTEGER NOT NULL,
    body        BLOB NOT NULL -- see alertd/store/entry_codec.py
) STRICT;

-- A rule that is deleted leaves its incidents, so there is no reference to rules.
CREATE TABLE incidents (
    id              TEXT PRIMARY KEY,
    rule_id         TEXT NOT NULL,
    rule_name       TEXT NOT NULL,
    rule_version    INTEGER NOT NULL,
    severity        TEXT NOT NULL,
    threshold       REAL NOT NULL,
    operator        TEXT NOT NULL,
    group_labels    TEXT NOT NULL, -- a JSON object
    started_us      INTEGER NOT NULL,
    fired_us        INTEGER NOT NULL,
    ended_us        INTEGER,
    detected_us     INTEGER NOT NULL,
    value           REAL,
    peak_value      REAL,
    window_start_us INTEGER NOT NULL,
    window_end_us   INTEGER NOT NULL,
    event_time_us   INTEGER NOT NULL,
    late_by_us      INTEGER NOT NULL,
    detected_by     TEXT NOT NULL,
    end_reason      TEXT,
    continues       TEXT,
    merged_into     TEXT,
    summary         TEXT NOT NULL
) STRICT;
CREATE INDEX incidents_by_time ON incidents (detected_us, id);
CREATE INDEX incidents_by_rule ON incidents (rule_id, detected_us, id);
CREATE INDEX incidents_open ON incidents (detected_us, id) WHERE ended_us IS NULL;

CREATE TABLE timeline (
    incident_id     TEXT NOT NULL REFERENCES incidents ON DELETE CASCADE,
    at_us           INTEGER NOT NULL,
    what            TEXT NOT NULL,
    notification_id TEXT NOT NULL, -- '' where it is about the incident itself
    detail          TEXT NOT NULL,
    PRIMARY KEY (incident_id, at_us, what, notification_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE notifications (
    seq             INTEGER PRIMARY KEY, -- the order in which they are to be told
    id              TEXT NOT NULL UNIQUE,
    incident_id     TEXT NOT NULL REFERENCES incidents ON DELETE CASCADE,
    rule_id         TEXT NOT NULL,
    kind            TEXT NOT NULL,
    channel         TEXT NOT NULL,
    endpoint        TEXT,
    status          TEXT NOT NULL CHECK (status IN ('SUCCESS', 'FAILED', 'RETRY_PENDING')),
    attempts        INTEGER NOT NULL,
    created_us      INTEGER NOT NULL,
    next_attempt_us INTEGER NOT NULL,
    last_error      TEXT,
    settled_us      INTEGER,
    message         TEXT NOT NULL -- JSON
) STRICT;
CREATE INDEX notifications_of_incident ON notifications (incident_id, seq);
CREATE INDEX notifications_pending ON notifications (next_attempt_us, seq)
    WHERE status = 'RETRY_PENDING';
CREATE INDEX notifications_failed ON notifications (settled_us) WHERE status = 'FAILED';
"""

_EVENT_TIMES: Final = """
-- The new columns stand before the body: behind it, each would be a walk through its pages.
CREATE TABLE event_log_with_times (
    position    INTEGER PRIMARY KEY,
    received_us INTEGER NOT NULL,
    kind        TEXT NOT NULL CHECK (kind IN ('events', 'rules')),
    count       INTEGER NOT NULL,
    has_ids     INTEGER NOT NULL,
    least_us    INTEGER, -- event times in the body; NULL where kind is rules
    greatest_us INTEGER,
    body        BLOB NOT NULL -- see alertd/store/entry_codec.py
) STRICT;
INSERT INTO event_log_with_times
    SELECT position, received_us, kind, count, has_ids,
           iif(kind = 'events', least_us(position, body), NULL),
           iif(kind = 'events', greatest_us(position, body), NULL),
           body
    FROM event_log ORDER BY position;
DROP TABLE event_log;
ALTER TABLE event_log_with_times RENAME TO event_log;
CREATE INDEX event_log_by_time ON event_log (greatest_us, least_us);
"""

_REQUESTS_AND_QUARANTINE: Final = """
CREATE TABLE request_keys (
    seq         INTEGER PRIMARY KEY, -- the order of writing: the oldest are pruned first
    key_digest  BLOB NOT NULL UNIQUE,
    body_digest BLOB NOT NULL,
    received_us INTEGER NOT NULL,
    answer      TEXT NOT NULL -- the body of the 202, as JSON
) STRICT;

CREATE TABLE quarantine (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    received_us INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    path        TEXT NOT NULL,
    message     TEXT NOT NULL,
    event       TEXT NOT NULL -- the beginning of the event as JSON
) STRICT;
"""

_SERIES_TOTALS: Final = """
-- Of the events that are in no entry of event_log any more.
ALTER TABLE series ADD COLUMN event_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE series ADD COLUMN first_us INTEGER;
ALTER TABLE series ADD COLUMN last_us INTEGER;
CREATE INDEX series_by_metric ON series (metric_name);
"""

_SEGMENTS: Final = """
-- Folded events. What counts, and until when, is in alertd/store/segments.py.
CREATE TABLE segments (
    first_position INTEGER PRIMARY KEY, -- of an entry of the log
    last_position  INTEGER NOT NULL,
    entries        INTEGER NOT NULL,
    events         INTEGER NOT NULL,
    least_us       INTEGER NOT NULL, -- event times
    greatest_us    INTEGER NOT NULL,
    directory      BLOB NOT NULL -- see alertd/store/directory.py
) STRICT;
CREATE TABLE blocks (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    segment      INTEGER NOT NULL, -- its first position; it may have no row yet, or no more
    first_series INTEGER NOT NULL,
    last_series  INTEGER NOT NULL,
    events       INTEGER NOT NULL,
    least_us     INTEGER NOT NULL,
    greatest_us  INTEGER NOT NULL,
    body         BLOB NOT NULL -- see alertd/store/block_codec.py
) STRICT;
CREATE INDEX blocks_by_series ON blocks (segment, last_series);
INSERT INTO meta VALUES ('folded_position', 0), ('counted_block', 0);
"""

_MESSAGES: Final = """
-- What is sent: one message for one receiver, with one or more notifications in it.
CREATE TABLE messages (
    seq             INTEGER PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE, -- the idempotency key: the id of its first notification
    channel         TEXT NOT NULL,
    endpoint        TEXT,
    group_key       TEXT NOT NULL, -- a JSON object; before schema 6, the id of an incident
    parts           INTEGER NOT NULL, -- notifications in it
    is_open         INTEGER NOT NULL, -- more may join; closed before its first attempt
    collapses       INTEGER NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('SUCCESS', 'FAILED', 'RETRY_PENDING')),
    attempts        INTEGER NOT NULL,
    created_us      INTEGER NOT NULL,
    due_us          INTEGER NOT NULL,
    begun_us        INTEGER NOT NULL, -- its age counts from here
    next_attempt_us INTEGER NOT NULL,
    last_error      TEXT,
    settled_us      INTEGER
) STRICT;
INSERT INTO messages
    SELECT seq, id, channel, endpoint, incident_id, 1, 0, 1, status, attempts, created_us,
           created_us, created_us, next_attempt_us, last_error, settled_us
    FROM notifications;
CREATE INDEX messages_of_group ON messages (channel, endpoint, group_key, seq);
CREATE INDEX messages_waiting ON messages (channel, endpoint, group_key, seq)
    WHERE status = 'RETRY_PENDING';
CREATE INDEX messages_pending ON messages (next_attempt_us, seq) WHERE status = 'RETRY_PENDING';
CREATE INDEX messages_failed ON messages (seq) WHERE status = 'FAILED';

CREATE TABLE attempts (
    message_seq INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE,
    at_us       INTEGER NOT NULL,
    status      TEXT NOT NULL,
    detail      TEXT NOT NULL,
    PRIMARY KEY (message_seq, at_us)
) STRICT, WITHOUT ROWID;

CREATE TABLE notifications_in_messages (
    seq         INTEGER PRIMARY KEY, -- the order in which they are to be told
    id          TEXT NOT NULL UNIQUE,
    incident_id TEXT NOT NULL REFERENCES incidents ON DELETE CASCADE,
    rule_id     TEXT NOT NULL,
    kind        TEXT NOT NULL,
    channel     TEXT NOT NULL,
    endpoint    TEXT,
    group_key   TEXT NOT NULL,
    created_us  INTEGER NOT NULL,
    message_seq INTEGER, -- the message that tells it; NULL while, or because, it is held back
    held_by     TEXT, -- why it is held back
    held_ref    TEXT, -- what holds it back
    look_us     INTEGER, -- when to look at it again: to release it, or to repeat it
    repeat_us   INTEGER NOT NULL, -- interval of repeats; 0 for none
    view        TEXT NOT NULL -- the incident as it is told, JSON
) STRICT;
INSERT INTO notifications_in_messages
    SELECT seq, id, incident_id, rule_id, kind, channel, endpoint, incident_id, created_us, seq,
           NULL, NULL, NULL, 0, coalesce(json_extract(message, '$.incidents[0]'), '{}')
    FROM notifications;
DROP TABLE notifications;
ALTER TABLE notifications_in_messages RENAME TO notifications;
CREATE INDEX notifications_of_incident ON notifications (incident_id, seq);
CREATE INDEX notifications_of_message ON notifications (message_seq, seq);
CREATE INDEX notifications_to_look_at ON notifications (look_us) WHERE look_us IS NOT NULL;
"""

_SILENCES: Final = """
CREATE TABLE silences (
    id         TEXT PRIMARY KEY,
    matchers   TEXT NOT NULL, -- JSON
    starts_us  INTEGER NOT NULL,
    ends_us    INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    comment    TEXT NOT NULL
) STRICT;
CREATE INDEX silences_by_end ON silences (ends_us);
CREATE INDEX notifications_held ON notifications (held_ref)
    WHERE message_seq IS NULL AND look_us IS NOT NULL;
ALTER TABLE incidents ADD COLUMN acked_us INTEGER;
ALTER TABLE incidents ADD COLUMN acked_by TEXT;
"""

_RETENTION: Final = """
-- Segments that retention has removed. What counts, and until when, is in alertd/store/rollups.py.
CREATE TABLE rolled_up (
    segment       INTEGER PRIMARY KEY, -- its first position
    last_position INTEGER NOT NULL,
    events        INTEGER NOT NULL,
    least_us      INTEGER NOT NULL, -- event times
    greatest_us   INTEGER NOT NULL
) STRICT;
CREATE TABLE rollups (
    id           INTEGER PRIMARY KEY,
    segment      INTEGER NOT NULL, -- it may have no row yet, or no more
    first_series INTEGER NOT NULL,
    last_series  INTEGER NOT NULL,
    first_minute INTEGER NOT NULL, -- since the Unix epoch
    last_minute  INTEGER NOT NULL,
    body         BLOB NOT NULL -- see alertd/store/rollup_codec.py
) STRICT;
CREATE INDEX rollups_by_series ON rollups (segment, last_series);
CREATE INDEX incidents_ended ON incidents (ended_us) WHERE ended_us IS NOT NULL;
"""

_FLAPPING: Final = """
CREATE TABLE flapping (
    rule_id      TEXT NOT NULL,
    group_labels TEXT NOT NULL, -- JSON
    id           TEXT NOT NULL, -- of the episode
    incident_id  TEXT NOT NULL REFERENCES incidents ON DELETE CASCADE, -- that changed last
    since_us     INTEGER NOT NULL,
    changes      INTEGER NOT NULL,
    last_us      INTEGER NOT NULL, -- event time of the newest
    stable_us    INTEGER NOT NULL, -- when it counts as stable if it changes no more
    PRIMARY KEY (rule_id, group_labels)
) STRICT, WITHOUT ROWID;
CREATE INDEX flapping_by_incident ON flapping (incident_id);
"""

_RECEIPTS: Final = """
-- What receivers call the message that told of an incident first.
CREATE TABLE receipts (
    incident_id TEXT NOT NULL REFERENCES incidents ON DELETE CASCADE,
    channel     TEXT NOT NULL,
    receipt     TEXT NOT NULL,
    PRIMARY KEY (incident_id, channel)
) STRICT, WITHOUT ROWID;
CREATE INDEX receipts_of_channel ON receipts (channel, receipt);
"""

_DOUBTS: Final = """
-- Whether an attempt may be under way, and whether the receiver may have taken an earlier one.
ALTER TABLE messages ADD COLUMN is_offered INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN may_have_arrived INTEGER NOT NULL DEFAULT 0;
UPDATE messages SET may_have_arrived = 1 WHERE status = 'RETRY_PENDING' AND NOT is_open;
CREATE INDEX messages_due ON messages (channel, coalesce(endpoint, ''), next_attempt_us, seq)
    WHERE status = 'RETRY_PENDING';
"""

_ESCALATIONS: Final = """
-- How long others have to acknowledge the incident before it is told; 0: it is told at once.
ALTER TABLE notifications ADD COLUMN after_us INTEGER NOT NULL DEFAULT 0;
"""

_INCIDENTS_IN_ORDER: Final = """
-- Ids are random, so an index that has one stands all over the file: a storm wrote ten pages for
-- each incident. What refers to an incident does so by seq now, and stands where it was added.
CREATE TABLE incidents_in_order (
    seq             INTEGER PRIMARY KEY, -- the order of recording
    id              TEXT NOT NULL UNIQUE,
    rule_id         TEXT NOT NULL,
    rule_name       TEXT NOT NULL,
    rule_version    INTEGER NOT NULL,
    severity        TEXT NOT NULL,
    threshold       REAL NOT NULL,
    operator        TEXT NOT NULL,
    group_labels    TEXT NOT NULL, -- a JSON object
    started_us      INTEGER NOT NULL,
    fired_us        INTEGER NOT NULL,
    ended_us        INTEGER,
    detected_us     INTEGER NOT NULL,
    value           REAL,
    peak_value      REAL,
    window_start_us INTEGER NOT NULL,
    window_end_us   INTEGER NOT NULL,
    event_time_us   INTEGER NOT NULL,
    late_by_us      INTEGER NOT NULL,
    detected_by     TEXT NOT NULL,
    end_reason      TEXT,
    continues       TEXT,
    merged_into     TEXT,
    summary         TEXT NOT NULL,
    acked_us        INTEGER,
    acked_by        TEXT
) STRICT;
INSERT INTO incidents_in_order
    SELECT NULL, id, rule_id, rule_name, rule_version, severity, threshold, operator, group_labels,
           started_us, fired_us, ended_us, detected_us, value, peak_value, window_start_us,
           window_end_us, event_time_us, late_by_us, detected_by, end_reason, continues,
           merged_into, summary, acked_us, acked_by
    FROM incidents ORDER BY detected_us, id;

CREATE TABLE timeline_in_order (
    incident_seq    INTEGER NOT NULL REFERENCES incidents_in_order ON DELETE CASCADE,
    at_us           INTEGER NOT NULL,
    what            TEXT NOT NULL,
    notification_id TEXT NOT NULL, -- '' where it is about the incident itself
    detail          TEXT NOT NULL,
    PRIMARY KEY (incident_seq, at_us, what, notification_id)
) STRICT, WITHOUT ROWID;
INSERT INTO timeline_in_order
    SELECT i.seq, t.at_us, t.what, t.notification_id, t.detail
    FROM timeline t JOIN incidents_in_order i ON i.id = t.incident_id;

CREATE TABLE notifications_in_order (
    seq          INTEGER PRIMARY KEY, -- the order in which they are to be told
    id           TEXT NOT NULL UNIQUE,
    incident_seq INTEGER NOT NULL REFERENCES incidents_in_order ON DELETE CASCADE,
    rule_id      TEXT NOT NULL,
    kind         TEXT NOT NULL,
    channel      TEXT NOT NULL,
    endpoint     TEXT,
    group_key    TEXT NOT NULL,
    created_us   INTEGER NOT NULL,
    message_seq  INTEGER, -- the message that tells it; NULL while, or because, it is held back
    held_by      TEXT, -- why it is held back
    held_ref     TEXT, -- what holds it back
    look_us      INTEGER, -- when to look at it again: to release it, or to repeat it
    repeat_us    INTEGER NOT NULL, -- interval of repeats; 0 for none
    view         TEXT NOT NULL, -- the incident as it is told, JSON
    -- How long others have to acknowledge the incident before it is told; 0: it is told at once.
    after_us     INTEGER NOT NULL
) STRICT;
INSERT INTO notifications_in_order
    SELECT n.seq, n.id, i.seq, n.rule_id, n.kind, n.channel, n.endpoint, n.group_key, n.created_us,
           n.message_seq, n.held_by, n.held_ref, n.look_us, n.repeat_us, n.view, n.after_us
    FROM notifications n JOIN incidents_in_order i ON i.id = n.incident_id ORDER BY n.seq;

CREATE TABLE flapping_in_order (
    rule_id      TEXT NOT NULL,
    group_labels TEXT NOT NULL, -- JSON
    id           TEXT NOT NULL, -- of the episode
    incident_seq INTEGER NOT NULL REFERENCES incidents_in_order ON DELETE CASCADE, -- changed last
    since_us     INTEGER NOT NULL,
    changes      INTEGER NOT NULL,
    last_us      INTEGER NOT NULL, -- event time of the newest
    stable_us    INTEGER NOT NULL, -- when it counts as stable if it changes no more
    PRIMARY KEY (rule_id, group_labels)
) STRICT, WITHOUT ROWID;
INSERT INTO flapping_in_order
    SELECT f.rule_id, f.group_labels, f.id, i.seq, f.since_us, f.changes, f.last_us, f.stable_us
    FROM flapping f JOIN incidents_in_order i ON i.id = f.incident_id;

-- What receivers call the message that told of an incident first.
CREATE TABLE receipts_in_order (
    incident_seq INTEGER NOT NULL REFERENCES incidents_in_order ON DELETE CASCADE,
    channel      TEXT NOT NULL,
    receipt      TEXT NOT NULL,
    PRIMARY KEY (incident_seq, channel)
) STRICT, WITHOUT ROWID;
INSERT INTO receipts_in_order
    SELECT i.seq, r.channel, r.receipt
    FROM receipts r JOIN incidents_in_order i ON i.id = r.incident_id;

DROP TABLE timeline;
DROP TABLE notifications;
DROP TABLE flapping;
DROP TABLE receipts;
DROP TABLE incidents; -- the last: whatever referred to it would go with it
ALTER TABLE incidents_in_order RENAME TO incidents;
ALTER TABLE timeline_in_order RENAME TO timeline;
ALTER TABLE notifications_in_order RENAME TO notifications;
ALTER TABLE flapping_in_order RENAME TO flapping;
ALTER TABLE receipts_in_order RENAME TO receipts;

CREATE INDEX incidents_by_time ON incidents (detected_us, seq);
CREATE INDEX incidents_by_rule ON incidents (rule_id, detected_us, seq);
CREATE INDEX incidents_open ON incidents (detected_us, seq) WHERE ended_us IS NULL;
CREATE INDEX incidents_ended ON incidents (ended_us, seq) WHERE ended_us IS NOT NULL;
CREATE INDEX notifications_of_incident ON notifications (incident_seq, seq);
CREATE INDEX notifications_of_message ON notifications (message_seq, seq);
CREATE INDEX notifications_to_look_at ON notifications (look_us) WHERE look_us IS NOT NULL;
CREATE INDEX notifications_held ON notifications (held_ref)
    WHERE message_seq IS NULL AND look_us IS NOT NULL;
CREATE INDEX flapping_by_incident ON flapping (incident_seq);
CREATE INDEX receipts_of_channel ON receipts (channel, receipt);
"""

_HASTE: Final = """
-- Whether a success at its receiver brings the next attempt forward: see alertd/store/hurry.py.
ALTER TABLE messages ADD COLUMN haste INTEGER NOT NULL DEFAULT 0;
CREATE INDEX messages_to_hurry ON messages (channel, coalesce(endpoint, ''), seq)
    WHERE status = 'RETRY_PENDING' AND attempts > 0 AND haste = 0;
"""

MIGRATIONS: Final = (
    _INITIAL,
    _EVENT_TIMES,
    _REQUESTS_AND_QUARANTINE,
    _SERIES_TOTALS,
    _SEGMENTS,
    _MESSAGES,
    _SILENCES,
    _RETENTION,
    _FLAPPING,
    _RECEIPTS,
    _DOUBTS,
    _ESCALATIONS,
    _INCIDENTS_IN_ORDER,
    _HASTE,
)
