"""The tables of the connector's SQLite file, version by version; `PRAGMA user_version` says which a file has.

A released version never changes: what comes after it is one more script at the end. Columns called `value`, `event`,
`sealed`, `submission` and `request`, `answer` are sealed under the data key; the others are not.
"""

from __future__ import annotations

_FIRST = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE intake(mark BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE seat(ref BLOB PRIMARY KEY, seat_id BLOB UNIQUE, state TEXT NOT NULL,
  case_handle BLOB NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE command(number INTEGER PRIMARY KEY AUTOINCREMENT, command_id BLOB NOT NULL UNIQUE, ref BLOB,
  kind TEXT NOT NULL, narrowing INTEGER NOT NULL, state TEXT NOT NULL, tries INTEGER NOT NULL DEFAULT 0,
  next_at_us INTEGER NOT NULL DEFAULT 0, value BLOB NOT NULL);
CREATE TABLE outgoing(number INTEGER PRIMARY KEY AUTOINCREMENT, event_id BLOB NOT NULL UNIQUE,
  ref BLOB NOT NULL, event_type TEXT NOT NULL, state TEXT NOT NULL, attempt INTEGER NOT NULL DEFAULT 0,
  posted INTEGER NOT NULL DEFAULT 0, basis TEXT NOT NULL DEFAULT '', tries INTEGER NOT NULL DEFAULT 0,
  next_at_us INTEGER NOT NULL DEFAULT 0, accepted_at_us INTEGER NOT NULL, shelf_until_us INTEGER NOT NULL,
  event BLOB, sealed BLOB, submission BLOB);
CREATE INDEX outgoing_state ON outgoing(state, next_at_us);
CREATE TABLE outgoing_section(event_id BLOB NOT NULL, role TEXT NOT NULL, category TEXT NOT NULL,
  state TEXT NOT NULL, attempt INTEGER NOT NULL DEFAULT 0, reasons TEXT NOT NULL DEFAULT '',
  PRIMARY KEY(event_id, role, category)) WITHOUT ROWID;
CREATE TABLE receipt(event_id BLOB NOT NULL, attempt INTEGER NOT NULL, value BLOB NOT NULL,
  PRIMARY KEY(event_id, attempt)) WITHOUT ROWID;
CREATE TABLE incoming(delivery_id BLOB PRIMARY KEY, seat_id BLOB NOT NULL, event_id BLOB NOT NULL,
  state TEXT NOT NULL, at_us INTEGER NOT NULL, value BLOB) WITHOUT ROWID;
CREATE TABLE incoming_section(event_id BLOB NOT NULL, digest BLOB NOT NULL, delivery_id BLOB NOT NULL,
  state TEXT NOT NULL, PRIMARY KEY(event_id, digest)) WITHOUT ROWID;
CREATE TABLE event_hash(event_id BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE ack(item_id BLOB PRIMARY KEY, hand_number INTEGER NOT NULL, verdict TEXT NOT NULL,
  code TEXT) WITHOUT ROWID;
CREATE TABLE outbox(number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
  folder TEXT NOT NULL, delivery_id BLOB, written INTEGER NOT NULL DEFAULT 0, value BLOB);
CREATE INDEX outbox_waits ON outbox(number) WHERE NOT written;
CREATE TABLE ledger(seat_id BLOB NOT NULL, seq INTEGER NOT NULL, value BLOB NOT NULL,
  PRIMARY KEY(seat_id, seq)) WITHOUT ROWID;
CREATE TABLE ledger_head(seat_id BLOB PRIMARY KEY, seq INTEGER NOT NULL,
  head BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE statement(number INTEGER PRIMARY KEY AUTOINCREMENT, case_handle BLOB NOT NULL,
  hash BLOB NOT NULL, value BLOB NOT NULL, UNIQUE(case_handle, hash));
CREATE TABLE invitation(invitation_id BLOB PRIMARY KEY, state TEXT NOT NULL,
  value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE call(call_id BLOB PRIMARY KEY, path TEXT NOT NULL, at_us INTEGER NOT NULL,
  request BLOB NOT NULL, answer BLOB) WITHOUT ROWID;
CREATE TABLE proof(leaf_hash BLOB PRIMARY KEY, kind TEXT NOT NULL, since_us INTEGER NOT NULL,
  alarmed INTEGER NOT NULL DEFAULT 0, value BLOB, seat_id BLOB) WITHOUT ROWID;
CREATE INDEX proof_waits ON proof(since_us) WHERE value IS NULL;
CREATE TABLE evidence(number INTEGER PRIMARY KEY AUTOINCREMENT, at_us INTEGER NOT NULL,
  code TEXT NOT NULL, value BLOB NOT NULL);
CREATE TABLE reading(number INTEGER PRIMARY KEY AUTOINCREMENT, at_us INTEGER NOT NULL,
  value BLOB NOT NULL);
"""

# What follows an annulled consent: at its discloser an incident, at each recipient a notice that wants an answer.
_ANNULLED = """
CREATE TABLE incident(incident_id BLOB PRIMARY KEY, seat_id BLOB NOT NULL, opened_at_us INTEGER NOT NULL,
  version INTEGER NOT NULL, stale INTEGER NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE annulment(notice_id BLOB PRIMARY KEY, seat_id BLOB NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;
"""

# A delivery that may have been given before a restore waits for a person.
_HELD = """
ALTER TABLE outbox ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
"""

# Seats lost with no backup, and requests of others for new keys: how far each is.
_REKEYED = """
CREATE TABLE rekey(name BLOB PRIMARY KEY, state TEXT NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;
"""

VERSIONS: tuple[str, ...] = (_FIRST, _ANNULLED, _HELD, _REKEYED)
