"""The consents of a naive second decision: everything wrong with one set of terms, for one section, at one moment.

Each function answers with a set of reasons and looks at all acts again. Nothing is prepared, sorted or remembered.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from schemas.acts import Terms
from tests.consent.reference_givers import METHODS, code, giver_reasons, human_reasons, minor_reasons

STOCKHOLM = ZoneInfo("Europe/Stockholm")
EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


# --- which terms


def versions(notes, consent_id):
    """Places of the GRANT (the first) and the AMENDs after it, or nothing where no GRANT is recorded.

    The same act sent again is no other word. A grant of a kind that opens nothing is no consent here.
    """
    found = []
    for place, one in enumerate(notes):
        if one.act.consent_id != consent_id or any(notes[earlier].act == one.act for earlier in found):
            continue
        if one.act.act == "AMEND" and found:
            found.append(place)
        if one.act.act == "GRANT" and not found and opens(one.act.terms):
            found.append(place)
    return found


def opens(given):
    row = code("consent_kind", given.kind or "SECRECY_WAIVER")
    return row is None or row["opens"]


def version_at(notes, consent_id, at_us):
    """The place of the terms that are the consent's at a moment: the newest recorded by then, else the first."""
    places = versions(notes, consent_id)
    return [place for place in places if place == places[0] or notes[place].recorded_us <= at_us][-1]


def version_before(notes, consent_id, place):
    """The place of the terms that were the consent's when the act at `place` was recorded, or None."""
    earlier = [one for one in versions(notes, consent_id) if one < place]
    return earlier[-1] if earlier else None


def terms_at(notes, place):
    """The terms written at a place; an amendment without terms leaves what was, but it counts for nothing."""
    while notes[place].act.terms is None:
        place = version_before(notes, notes[place].act.consent_id, place)
    return notes[place].act.terms


def consent_ids(notes):
    return list(dict.fromkeys(one.act.consent_id for one in notes if one.act.act == "GRANT" and opens(one.act.terms)))


# --- what it is about


def persons_of(given: Terms):
    """Whose secrecy the terms lift: of several persons only those who gave it, where these gave it and nobody else."""
    about = {0} if given.about is None else set(given.about)
    gave = {one.person for one in given.givers or ()}
    alone = gave and gave <= about and all(one.capacity == "SELF" for one in given.givers)
    return gave if alone else about


def recipient_reasons(asked, given):
    party, found = asked.request.recipient, set()
    by_unit = any(one.kind == "UNIT" and party.unit is not None and one.id == party.unit for one in given.recipients)
    roles = [one for one in given.recipients if one.kind == "ROLE" and one.id == party.role and not asked.invitation]
    same = any(one.follows_role or (one.member is not None and one.member == party.member) for one in roles)
    if not by_unit and not roles:
        found.add("RECIPIENT_NOT_COVERED")
    elif not by_unit and not same and party.held:
        found.add("RECIPIENT_CHANGED")
    if any(one.kind == "NAMED_OFFICER" for one in given.recipients):
        found.add("RESERVATION")
    return found


def period_reasons(asked, given):
    since, until = asked.section.data_from_us, asked.section.data_until_us
    limited = given.data_from_us is not None or given.data_until_us is not None
    outside = (
        (since is not None and until is not None and since >= until)
        or (given.data_from_us is not None and (since is None or since < given.data_from_us))
        or (given.data_until_us is not None and (until is None or until > given.data_until_us))
    )
    return {"DATA_PERIOD"} if limited and outside else set()


def scope_reasons(asked, noted, given):
    found = recipient_reasons(asked, given) | period_reasons(asked, given)
    if noted.act.member != asked.request.sender.member:
        found.add("WRONG_DISCLOSER")
    if asked.section.category not in given.categories:
        found.add("CATEGORY_NOT_COVERED")
    if asked.request.purpose not in given.purposes:
        found.add("PURPOSE_MISMATCH")
    if asked.request.action not in given.actions:
        found.add("ACTION_NOT_COVERED")
    return found


# --- whether it lives


def kind_reasons(given):
    """A kind or an ending event nobody knows, a kind that holds more than it may or opens nothing, implied."""
    row = code("consent_kind", given.kind or "SECRECY_WAIVER")
    if (
        row is None
        or not row["opens"]
        or ("categories" in row and not set(given.categories) <= set(row["categories"]))
        or ("purposes" in row and not set(given.purposes) <= set(row["purposes"]))
        or (given.about is not None and not given.about)
        or (given.until_event is not None and code("ending_event", given.until_event) is None)
        or given.method not in METHODS
    ):
        return {"INVALIDATED"}
    return set()


def text_reasons(asked, noted, given):
    day = asked.rules.get("texts_ended", {}).get(given.text_version)
    if day is None:
        return set()
    midnight = datetime.combine(day, time(0), STOCKHOLM)
    ended_us = (midnight - EPOCH) // timedelta(microseconds=1)
    return {"TEXT_VERSION_STALE"} if noted.recorded_us >= ended_us else set()


def meets(recipients, party):
    """Whether a narrowing list of recipients reaches a party: what cannot be told apart is reached."""
    if not recipients:
        return True
    for one in recipients:
        if one.kind == "ROLE":
            if one.id == party.role or code("role", one.id) is None:
                return True
        elif one.kind == "UNIT":
            if one.id == party.unit or (party.unit is None and one.id.split("/")[0] == party.authority):
                return True
        else:
            return True
    return False


def lists(kind, words, word):
    """Whether a narrowing list reaches a word: an empty list is all, and so is a word nobody knows."""
    return not words or word in words or any(code(kind, one) is None for one in words)


def means_all(part):
    """Whether a scope leaves nothing out."""
    if part is None:
        return True
    return (
        (not part.recipients or any(not readable(one) for one in part.recipients))
        and (not part.categories or any(code("category", one) is None for one in part.categories))
        and (not part.purposes or any(code("purpose", one) is None for one in part.purposes))
    )


def readable(ref):
    return (ref.kind == "ROLE" and code("role", ref.id) is not None) or ref.kind == "UNIT"


def withdrawal_reasons(asked, place, other_place):
    """What a WITHDRAW of this consent, or of everything, does at the moment."""
    other, granted = asked.notes[other_place], asked.notes[place]
    if asked.at_us < other.since_us:
        return set()
    if other.act.act == "WITHDRAW_ALL":
        return {"WITHDRAWN"} if other_place > place else set()
    if other.act.consent_id != granted.act.consent_id:
        return set()
    part = other.act.scope
    if means_all(part):
        return {"WITHDRAWN"}
    if (
        meets(part.recipients, asked.request.recipient)
        and lists("category", part.categories, asked.section.category)
        and lists("purpose", part.purposes, asked.request.purpose)
    ):
        return {"PARTIALLY_WITHDRAWN"}
    return set()


def suspended(asked, consent_id):
    """A suspension noted, and no resumption noted after it in force."""
    for place, one in enumerate(asked.notes):
        if one.act.act == "SUSPEND" and one.act.consent_id == consent_id and asked.at_us >= one.since_us:
            over = any(
                later.act.act == "RESUME" and later.act.consent_id == consent_id and later.signed
                and later.act.scope is None and asked.at_us >= later.widens_us
                for later in asked.notes[place + 1 :]
            )  # fmt: skip
            if not over:
                return True
    return False


def reached(asked, current, other_place, hit):
    """Whether an act about the whole ledger ends the terms at `current`: they, or those it found, are of its kind."""
    notes = asked.notes
    if asked.at_us < notes[other_place].since_us:
        return False
    if current < other_place:
        return hit(terms_at(notes, current))
    found = version_before(notes, notes[current].act.consent_id, other_place)
    return found is not None and hit(terms_at(notes, found))


def ending_reasons(asked, current):
    found = set()
    for place, other in enumerate(asked.notes):
        if other.act.act == "EXPIRE":
            event = other.act.ended_event
            unknown = event is None or code("ending_event", event) is None

            def ends(given, event=event, unknown=unknown):
                return given.until_event is not None and (unknown or given.until_event == event)

            if reached(asked, current, place, ends):
                found.add("EXPIRED")
        if other.act.act == "LAPSE":
            whose = other.act.scope.givers if other.act.scope is not None else None

            def rests(given, whose=whose):
                return any(one.capacity != "SELF" and (not whose or one.person in whose) for one in given.givers or ())

            if reached(asked, current, place, rests):
                found.add("GUARDIAN_AUTHORITY_ENDED")
    return found


def never_one(asked, consent_id, place):
    """Annulled, or recorded before or after in other words, whatever their kind, that were no amendment."""
    first = asked.notes[place].act
    for other_place, other in enumerate(asked.notes):
        if other.act.consent_id != consent_id:
            continue
        if other.act.act in {"ANNUL", "ANNUL_WRONG_PERSON"}:
            return True
        if other.act.act == "GRANT" and other.act != first and asked.at_us >= other.recorded_us:
            return True
        if other.act.act == "AMEND" and other_place < place and asked.at_us >= other.recorded_us:
            return True
    return False


def life_reasons(asked, place, current):
    notes, given = asked.notes, terms_at(asked.notes, current)
    consent_id, noted = notes[place].act.consent_id, notes[current]
    found = kind_reasons(given) | text_reasons(asked, noted, given) | ending_reasons(asked, current)
    if not noted.signed or noted.act.terms is None or given.valid_until_us is None:
        found.add("INVALIDATED")
    if never_one(asked, consent_id, place):
        found.add("INVALIDATED")
    if asked.at_us < max(given.valid_from_us, noted.recorded_us, noted.act.effective_at_us or 0):
        found.add("NOT_YET_VALID")
    if given.valid_until_us is None or asked.at_us >= given.valid_until_us:
        found.add("EXPIRED")
    for other_place, other in enumerate(notes):
        if other.act.act in {"WITHDRAW", "WITHDRAW_ALL"}:
            found |= withdrawal_reasons(asked, place, other_place)
        newer = other.act.terms if other.act.act in {"GRANT", "AMEND"} and asked.at_us >= other.recorded_us else None
        if newer is not None and newer.supersedes == consent_id:
            found.add("SUPERSEDED")
    if suspended(asked, consent_id):
        found.add("SUSPENDED")
    return found


def reasons(asked, consent_id):
    """Everything wrong with a consent for the section asked about, as a set; empty: it covers."""
    place = versions(asked.notes, consent_id)[0]
    current = version_at(asked.notes, consent_id, asked.at_us)
    given = terms_at(asked.notes, current)
    return (
        scope_reasons(asked, asked.notes[current], given)
        | life_reasons(asked, place, current)
        | giver_reasons(asked, given)
        | minor_reasons(asked, given)
        | human_reasons(asked, given)
    )


def duties(asked, consent_id):
    """What the recipient must do because the release rests on this consent."""
    given = terms_at(asked.notes, version_at(asked.notes, consent_id, asked.at_us))
    found = set(given.recipient_obligations or ())
    if given.retention_until_us is not None:
        found.add("RETENTION_LIMIT")
    rows = {one["code"]: one for one in asked.rules.get("reservations", ())}
    for one in given.reservations:
        found |= set(rows.get(one.code, {}).get("obligations", ()))
    return found
