"""A seat's ledger for the tests: acts as the broker records them, one second apart."""

from consent.ledger import head_after, view_of
from schemas.acts import ConsentAct, LedgerEvent, RecipientRef, Scope, Terms
from schemas.identifiers import ZERO32

SECOND = 1_000_000
START = 1_790_000_000 * SECOND  # September 2026
DAY = 86_400 * SECOND
UNIT = "SOC/EXEMPEL/KONSULT"
CONSENT = bytes.fromhex("01a2016deb137b39819ca99e16436ddb")


def ref(name, *, follows=False):
    kind = "UNIT" if "/" in name else "ROLE"
    member = name.encode()[:16].ljust(16, b"-") if kind == "ROLE" else None
    return RecipientRef(kind=kind, id=name, member=member, follows_role=follows)


def terms(**over):
    told = {
        "recipients": (ref("health_care"),),
        "categories": ("IC07", "IC08"),
        "purposes": ("HEALTH_COLLABORATION",),
        "actions": ("DISCLOSE",),
        "valid_from_us": START,
        "valid_until_us": START + 90 * DAY,
        "reservations": (),
        "text_version": "T1",
        "terms_version": "V1",
        "processing_acknowledged": True,
        "given_by": "SELF",
        "method": "WRITTEN",
    }
    return Terms(**{**told, **over})


def scope(recipients=(), categories=(), purposes=()):
    return Scope(recipients=recipients, categories=categories, purposes=purposes)


def view(*acts):
    """The ledger after (act, fields of the act) pairs."""
    head, events = ZERO32, []
    for number, (kind, over) in enumerate(acts, 1):
        at = START + number * SECOND
        told = {"consent_id": CONSENT, "seq": number - 1, "terms": None, "scope": None, **over}
        act = ConsentAct(
            case_tag=b"c" * 16, member=b"m" * 16, prev=head, act=kind, actor_ref="EX", assurance="ASSERTED",
            noted_at_us=at, **told,
        ).to_bytes()  # fmt: skip
        head = head_after(head, number, act, (), at)
        events.append(LedgerEvent(ledger_seq=number, act=act, signature=b"s", holders=(), recorded_at_us=at, head=head))
    return view_of(events)
