"""Where the agencies' signatures under the trust list meet: carried, not vouched for.

The statement is made from the admissions at every call; a signature counts only over the statement as it stands now,
so that a newly admitted agency empties the desk by itself. `trust-signatures.json` in the data folder keeps them
over a restart; it holds nothing that is not public.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from broker import admissions
from broker.keyfiles import write_atomic
from schemas.errors import HandslagError
from schemas.statements import TrustStatement
from schemas.trust_calls import AgencySignature, TrustAnswer

FILE = "trust-signatures.json"


@dataclass(slots=True)
class TrustDesk:
    """The desk of one broker; `take` may be called from any thread."""

    data_dir: Path
    origin: str
    log_key: str
    supervisor_key: bytes
    _alone: threading.Lock = field(default_factory=threading.Lock)

    def take(self, unit: str, signature: bytes | None) -> TrustAnswer:
        """Keep the signature of the unit's agency, if one is given, and tell all that hold now.

        Raises `HS-TRUST-INVALID` (check: signature) for one that is not this agency's over this statement.
        """
        with self._alone:
            known = [each for each in admissions.load_all(self.data_dir) if each.revoked_at_us is None]
            probe = any(each.probe for each in known if each.unit == unit)
            # The operator's standing test case has a list of its own: no agency is asked to trust it.
            admitted = [each for each in known if each.probe == probe]
            statement = admissions.trust_statement(self.origin, self.log_key, self.supervisor_key, admitted)
            held = self._read()
            kept = holding(statement, held)
            if signature is not None:
                agency = next((each.agency for each in admitted if each.unit == unit), "")
                if not holding(statement, {agency: signature}):
                    raise HandslagError("HS-TRUST-INVALID", check="signature")
                if kept.get(agency) != signature:
                    kept = {**kept, agency: signature}
                    every = {**held, agency: signature}
                    text = json.dumps({code: one.hex() for code, one in sorted(every.items())}, ensure_ascii=False)
                    write_atomic(self.data_dir / FILE, text.encode())
        listed = tuple(AgencySignature(agency=code, signature=one) for code, one in sorted(kept.items()))
        return TrustAnswer(statement=statement.to_bytes(), signatures=listed)

    def _read(self) -> dict[str, bytes]:
        """What is kept; a file that cannot be read is no loss: the connectors bring their signatures again."""
        try:
            kept = json.loads((self.data_dir / FILE).read_bytes())
            return {str(code): bytes.fromhex(one) for code, one in kept.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}


def holding(statement: TrustStatement, signatures: Mapping[str, bytes]) -> dict[str, bytes]:
    """Those signatures that a listed agency made over this statement."""
    # INVARIANT: test_the_desk_takes_no_signature_of_another_agency
    keys = {each.agency: each.signing_key for each in statement.agencies}
    data = statement.to_bytes()
    found = {}
    for agency, signature in signatures.items():
        try:
            Ed25519PublicKey.from_public_bytes(keys[agency]).verify(signature, data)
        except (KeyError, InvalidSignature, ValueError):
            continue
        found[agency] = signature
    return found
