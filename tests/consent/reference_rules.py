"""The rules of a naive second decision: steps 1 to 3 and the row's duties, from the rules file as it is written.

Written from the design pages and `tests/vectors/consent/README.md`. It reads the tables again for each question and
shares nothing with `consent/` but the file.
"""

from __future__ import annotations

from schemas import codes

SPOKEN = "spoken"  # said outside: no message, no name
# The category that the name of a message tells (README of the vectors, "The answer").
TOLD_BY_NAME = {
    "threat_assessment_requested": "IC04", "threat_assessment_completed": "IC04", "custody_status_changed": "IC05",
    "relocation_status_changed": "IC10", "case_transfer_changed": "IC10", "support_requested": "IC12",
    "seat_introduced": "IC12", "seat_invited": "IC12", "coordination_meeting_scheduled": "IC13",
    "joint_plan_adopted": "IC13", "housing_placement_changed": "IC13",
}  # fmt: skip


def once(words):
    """Each word once, where it came first."""
    return list(dict.fromkeys(words))


def rule_of(rules, request):
    """What the file says of the type; spoken, any role may; of an unknown one no purpose and no category is listed."""
    everybody = {"senders": list(codes.table()["role"]), "recipients": list(codes.table()["role"])}
    unknown = {} if request.event_type == SPOKEN else {"purposes": [], "categories": []}
    return rules["types"].get(request.event_type) or everybody | unknown


def is_invitation(rules, request):
    return bool(rule_of(rules, request).get("to_unit"))


def party_reasons(rules, request):
    """Step 1, in its order."""
    rule, sender, recipient = rule_of(rules, request), request.sender, request.recipient
    roles = codes.table()["role"]
    told = []
    if request.event_type not in rules["types"] and request.event_type != SPOKEN:
        told.append("SCHEMA_UNKNOWN")
    if sender.role not in rule["senders"]:
        told.append("SENDER_NOT_ALLOWED")
    if recipient.role not in rule["recipients"]:
        told.append("TYPE_NOT_ALLOWED")
    if not sender.active:
        told.append("SENDER_INACTIVE")
    if sender.role not in roles or roles[sender.role]["authority"] != sender.authority:
        told.append("SENDER_NOT_ALLOWED")
    somebody = recipient.held or is_invitation(rules, request)
    if somebody and (recipient.role not in roles or roles[recipient.role]["authority"] != recipient.authority):
        told.append("TYPE_NOT_ALLOWED")
    if request.purpose not in rule.get("purposes", codes.table()["purpose"]):
        told.append("TYPE_NOT_ALLOWED")
    if request.action not in codes.table()["action"]:
        told.append("SCHEMA_UNKNOWN")
    if not is_invitation(rules, request):
        if not recipient.held:
            told.append("NO_HOLDER")
        elif not recipient.active:
            told.append("SEAT_INACTIVE")
    return once(told)


def nothing_goes(rules, request):
    """Whether the two roles are a pair between which nothing goes, of no type and no category."""
    pair = request.sender.role, request.recipient.role
    return any((one["sender"], one["recipient"]) == pair for one in rules["never"])


def row_for(rules, request, category):
    """The row that speaks about the category between the two roles, or None."""
    rule = rule_of(rules, request)
    pair = request.sender.role, request.recipient.role
    if nothing_goes(rules, request):
        return None
    rows = (
        [rule] if "categories" in rule else [one for one in rules["pairs"] if (one["sender"], one["recipient"]) == pair]
    )
    for row in rows:
        only = row.get("only", {}).get(category)
        if category in row["categories"] and (only is None or request.event_type in only):
            return row
    return None


def lane_reasons(rules, request, section):
    """Steps 2 and 3 for one section, in their order; of a message nobody knows nothing more is known."""
    if request.event_type not in rules["types"] and request.event_type != SPOKEN:
        return ["CATEGORY_NOT_ALLOWED"]
    told = []
    row = row_for(rules, request, section.category)
    if row is None:
        told.append("CATEGORY_NOT_ALLOWED")
    if row is not None and "asks_human" in row:
        told.append(row["asks_human"])
    if section.category in rules["not_waivable"] and not nothing_goes(rules, request):
        told.append("NON_WAIVABLE")
    public = rules["public_interest"]
    if (
        request.sender.authority in public["sender_authorities"]
        and section.category in public["categories"]
        and not section.public_interest_released
    ):
        told.append("PUBLIC_INTEREST_NOT_RELEASED")
    return told


def lane_duties(rules, request):
    """What goes with every release between the two roles, whatever of their rows it is by."""
    if "categories" in rule_of(rules, request):
        return set()
    pair = request.sender.role, request.recipient.role
    rows = (one for one in rules["pairs"] if (one["sender"], one["recipient"]) == pair)
    return {duty for one in rows for duty in one.get("obligations", ())}
