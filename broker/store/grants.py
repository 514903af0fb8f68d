"""What the user under whom nodes serve may do to the tables, when another user owns them: SQL for a DBA to run.

Nothing that the trail rests on can be changed by whoever has the nodes' password: rows are added, never altered. The
tree is the proof; this keeps an accident or a thief of one password from needing it.
"""

from __future__ import annotations

import re

from broker.store import conversion, erasure_tables, join_tables, rule_tables, shared_tables, statute_tables
from broker.store.keyport import SEAT_KEY
from broker.store.tables import metadata
from schemas.errors import HandslagError

ADDED_ONLY = (
    "admin_act", "beat", "checkpoint", "continuation", "entry", "leaf", "rule_approval", "rule_set", "rule_step",
)  # fmt: skip
"""Tables whose rows are added and never altered or removed."""
FORGOTTEN = ("ledger_event", "payload", "statement")
"""Tables whose rows are added and, when a seat is erased, removed; never altered."""
# their tables are in `metadata` once they are loaded
_KNOWN = (conversion, erasure_tables, join_tables, rule_tables, shared_tables, statute_tables)
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}", re.ASCII)


def statements(user: str) -> list[str]:
    """The statements for the tables' owner, after each migration; raises `HS-SETTINGS-INVALID` for an unusual name."""
    if not _NAME.fullmatch(user):
        raise HandslagError("HS-SETTINGS-INVALID", field="store.user")
    names = sorted([*metadata.tables, SEAT_KEY.name])
    changed = [name for name in names if name not in ADDED_ONLY and name not in FORGOTTEN]
    # INVARIANT: test_the_serving_user_cannot_change_what_the_trail_rests_on
    return [
        f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {user};",
        f"GRANT USAGE ON SCHEMA public TO {user};",
        f"GRANT SELECT ON alembic_version TO {user};",
        f"GRANT SELECT, INSERT ON {', '.join(ADDED_ONLY)} TO {user};",
        f"GRANT SELECT, INSERT, DELETE ON {', '.join(FORGOTTEN)} TO {user};",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(changed)} TO {user};",
        f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {user};",
    ]
