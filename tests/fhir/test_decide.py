"""Properties of the answer for one FHIR Consent: narrowing never opens, and obligations hold back enough."""

import dataclasses

import pytest
from fhir.resources.R4B import get_fhir_model_class
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent.fhir import resource_types
from consent.fhir.decide import decide
from consent.fhir.systems import ACT_REASON, ACTION, PATIENT_PRIVACY, RECIPIENT, RESOURCE_TYPES
from consent.fhir.terms import DENY, PERMIT, Actor, Ask, Coding, FhirConsent, Provision, Span

STRANGE = Coding("urn:exempel:okänt", "x")
HALF = Coding("", "TREAT")
PURPOSES = [Coding(ACT_REASON, code) for code in ("TREAT", "ETREAT", "HRESCH", "DSRCH", "HMARKT")]
ACTIONS = [Coding(ACTION, code) for code in ("disclose", "access", "correct")]
LABELS = [Coding("urn:exempel:etikett", code) for code in "RNV"]
CLASSES = [Coding(RESOURCE_TYPES, code) for code in ("Observation", "Immunization")]
MISSPELT = Coding(RESOURCE_TYPES, "Obsrvation")
VAGUE = [HALF, MISSPELT, STRANGE, Coding(RESOURCE_TYPES, "Resource"), Coding(RESOURCE_TYPES, "DomainResource")]
ACTORS = [Actor(roles=(RECIPIENT,), reference=f"Practitioner/{number}") for number in (1, 2)]
STRANGERS = [
    Actor(roles=(STRANGE,), reference="Practitioner/1"),
    Actor(roles=(RECIPIENT,), reference="urn:uuid:1"),
    Actor(roles=(RECIPIENT,), reference="Organization/1"),
]
SLOW = [HealthCheck.too_slow]  # of a machine that others use; the answer takes microseconds
EXAMPLES = settings(max_examples=200, deadline=None, suppress_health_check=SLOW)
MANY = settings(max_examples=2000, deadline=None, suppress_health_check=SLOW)
FIELDS = st.sampled_from(["purposes", "actions", "actors", "labels", "classes"])


def some(values, most=2):
    """Nothing three times out of four, so that rules are about different things."""
    return st.one_of(*[st.just(())] * 3, st.lists(st.sampled_from(values), min_size=1, max_size=most).map(tuple))


def rules(depth, kind=None):
    inner = st.just(()) if depth == 0 else st.lists(rules(depth - 1), max_size=2).map(tuple)
    return st.builds(
        Provision,
        path=st.just("p"),
        type=st.sampled_from(["permit", "deny"]) if kind is None else st.just(kind),
        period=st.sampled_from([None, None, None, Span(0, 50), Span(50, None)]),
        actors=some([*ACTORS, *STRANGERS]),
        actions=some([*ACTIONS, STRANGE]),
        purposes=some([*PURPOSES, STRANGE, HALF]),
        labels=some([*LABELS, HALF]),
        classes=some([*CLASSES, *VAGUE]),
        unclear=st.sampled_from([False] * 9 + [True]),
        provisions=inner,
    )


def consents(root):
    return st.builds(
        FhirConsent,
        status=st.just("active"),
        scope=st.just((PATIENT_PRIVACY,)),
        category=st.just(()),
        patient=st.just(True),
        issued_us=st.just(0),
        policy_rules=st.just(()),
        verified=st.just(()),
        root=root,
    )


CONSENTS = consents(rules(3))
PLAIN = FhirConsent(
    status="active", scope=(PATIENT_PRIVACY,), category=(), patient=True, issued_us=0, policy_rules=(), verified=(),
    root=None,
)  # fmt: skip
ASK = Ask(
    references=frozenset({"Practitioner/1"}), identifiers=frozenset(), purpose=PURPOSES[0], action=ACTIONS[0],
    category=PATIENT_PRIVACY, classes=(), at_us=10,
)  # fmt: skip
ASKS = st.builds(
    Ask,
    references=st.sampled_from([frozenset({"Practitioner/1"}), frozenset({"Practitioner/3"})]),
    identifiers=st.just(frozenset()),
    purpose=st.sampled_from(PURPOSES),
    action=st.just(ACTIONS[0]),
    category=st.just(PATIENT_PRIVACY),
    classes=some(CLASSES),
    at_us=st.sampled_from([10, 60]),
)


def places(rule, at=()):
    """Every rule of the tree, by the way to it."""
    yield at
    for number, inner in enumerate(rule.provisions):
        yield from places(inner, (*at, number))


def changed(rule, at, change):
    """The tree with one rule changed."""
    if not at:
        return change(rule)
    inner = list(rule.provisions)
    inner[at[0]] = changed(inner[at[0]], at[1:], change)
    return dataclasses.replace(rule, provisions=tuple(inner))


def changed_somewhere(data, consent, change):
    at = data.draw(st.sampled_from(list(places(consent.root))))
    return dataclasses.replace(consent, root=changed(consent.root, at, change))


def opens(before, after, ask):
    return decide(after, ask).decision == PERMIT and decide(before, ask).decision != PERMIT


def denied(data, consent, denial):
    return changed_somewhere(
        data, consent, lambda rule: dataclasses.replace(rule, provisions=(*rule.provisions, denial))
    )


def strange(data, consent, field):
    """Something nobody knows, in the place of whatever a rule lists, or beside it.

    A label of any system is content's own to match; what cannot be read is what nobody knows there.
    """
    nobodys = {"actors": STRANGERS, "labels": [HALF], "classes": [HALF, MISSPELT]}.get(field, [STRANGE, HALF])
    code = data.draw(st.sampled_from(nobodys))
    beside = data.draw(st.booleans())
    return changed_somewhere(
        data,
        consent,
        lambda rule: dataclasses.replace(rule, **{field: (*(getattr(rule, field) if beside else ()), code)}),
    )


@EXAMPLES
@given(CONSENTS, ASKS, rules(2, "deny"), st.data())
def test_another_denial_never_permits(consent, ask, denial, data):
    assert not opens(consent, denied(data, consent, denial), ask)


@pytest.mark.long
@MANY
@given(CONSENTS, ASKS, rules(2, "deny"), st.data())
def test_another_denial_never_permits_in_many(consent, ask, denial, data):
    assert not opens(consent, denied(data, consent, denial), ask)


@EXAMPLES
@given(CONSENTS, ASKS, FIELDS, st.data())
def test_what_nobody_knows_never_permits(consent, ask, field, data):
    assert not opens(consent, strange(data, consent, field), ask)


@pytest.mark.long
@MANY
@given(CONSENTS, ASKS, FIELDS, st.data())
def test_what_nobody_knows_never_permits_in_many(consent, ask, field, data):
    assert not opens(consent, strange(data, consent, field), ask)


@EXAMPLES
@given(CONSENTS, ASKS, st.data())
def test_a_modifier_nobody_understands_never_permits(consent, ask, data):
    def unclear(rule):
        return dataclasses.replace(rule, unclear=True)

    assert not opens(consent, changed_somewhere(data, consent, unclear), ask)
    assert decide(dataclasses.replace(consent, unclear=True), ask).decision != PERMIT


# A second reading of the page, written apart from the product: one item with its labels and its class, all known.


def could_be(listed, have):
    return not listed or bool(set(listed) & have) or HALF in listed


def who_and_why(rule, ask):
    known = [actor for actor in rule.actors if actor.roles == (RECIPIENT,) and actor.reference.startswith("Pra")]
    sure = any(actor.reference in ask.references for actor in known)
    doubt = len(known) < len(rule.actors)
    plain = all(actor.roles == (RECIPIENT,) for actor in rule.actors)
    actors = not rule.actors or (sure or doubt if rule.type == "deny" else sure and plain)
    kinds = {"DSRCH": "HRESCH", "ETREAT": "TREAT"}
    wanted = {ask.purpose}
    if rule.type == "deny":
        wanted |= {Coding(ACT_REASON, kinds.get(ask.purpose.code, "")), STRANGE, HALF}
    purposes = not rule.purposes or bool(wanted & set(rule.purposes))
    deeds = {ask.action} | ({ACTIONS[1], STRANGE} if rule.type == "deny" else set())
    return actors and purposes and (not rule.actions or bool(deeds & set(rule.actions)))


def about(rule, ask, item):
    if rule.unclear:
        return rule.type == "deny"
    if rule.period is not None and not rule.period.holds(ask.at_us):
        return False
    labels, kind = item
    if rule.type == "deny":
        vague = bool(set(VAGUE) & set(rule.classes))
        return who_and_why(rule, ask) and could_be(rule.labels, labels) and (vague or could_be(rule.classes, {kind}))
    plain = (not rule.labels or set(rule.labels) & labels) and (not rule.classes or kind in rule.classes)
    return who_and_why(rule, ask) and bool(plain)


def goes(rule, ask, item):
    if rule.unclear:
        return False
    if any(each.type == "deny" and about(each, ask, item) and not goes(each, ask, item) for each in rule.provisions):
        return False
    if rule.type == "permit":
        return True
    return any(each.type == "permit" and about(each, ask, item) and goes(each, ask, item) for each in rule.provisions)


def held_back(residual, item):
    labels, kind = item
    has = {*labels, kind}
    return bool(has & set(residual.redact)) or any(not has & set(clause) for clause in residual.keep)


UNCLASSED = ASKS.map(lambda ask: dataclasses.replace(ask, classes=()))
ITEMS = st.tuples(st.frozensets(st.sampled_from(LABELS)), st.sampled_from(CLASSES))


def sound(consent, ask, item):
    answer = decide(consent, ask)
    if answer.decision == PERMIT and not held_back(answer.residual, item):
        return about(consent.root, ask, item) and goes(consent.root, ask, item)
    return True


@EXAMPLES
@given(CONSENTS, UNCLASSED, ITEMS)
def test_obligations_hold_back_whatever_the_consent_does_not_permit(consent, ask, item):
    assert sound(consent, ask, item)


@pytest.mark.long
@MANY
@given(CONSENTS, UNCLASSED, ITEMS)
def test_obligations_hold_back_enough_in_many(consent, ask, item):
    assert sound(consent, ask, item)


@EXAMPLES
@given(CONSENTS, UNCLASSED, ITEMS)
def test_any_class_lets_nothing_go_that_the_class_itself_would_not(consent, ask, item):
    """Who asks for any class gets no more of one than who asks for that one."""
    one = dataclasses.replace(ask, classes=(item[1],))
    answers = [decide(consent, each) for each in (ask, one)]
    goes_out = [answer.decision == PERMIT and not held_back(answer.residual, item) for answer in answers]
    assert goes_out[1] or not goes_out[0]


CONCRETE = [Coding(RESOURCE_TYPES, code) for code in sorted(resource_types.CONCRETE)]
NONE_OF_THEM = st.text(st.sampled_from("ABOPRSaceinorstv"), min_size=1, max_size=12).filter(
    lambda code: code not in resource_types.CONCRETE | resource_types.ABSTRACT
)


def classed(kind, listed, inner=()):
    return Provision(path="p", type=kind, classes=(Coding(RESOURCE_TYPES, listed),) if listed else (), provisions=inner)


@EXAMPLES
@given(st.one_of(NONE_OF_THEM, st.sampled_from(sorted(resource_types.ABSTRACT))), st.sampled_from(CONCRETE))
def test_a_class_that_is_none_is_denied_by_all_and_permitted_by_none(listed, wanted):
    def answer(root, *classes):
        return decide(dataclasses.replace(PLAIN, root=root), dataclasses.replace(ASK, classes=classes)).decision

    assert answer(classed("permit", None), wanted) == PERMIT  # control
    for asked in ((wanted,), ()):
        assert answer(classed("permit", None, (classed("deny", listed),)), *asked) == DENY
    assert answer(classed("permit", listed), wanted) == DENY
    known = wanted.code
    assert answer(classed("permit", None, (classed("deny", known),)), Coding(RESOURCE_TYPES, listed)) == DENY
    if listed not in resource_types.ABSTRACT:
        assert answer(classed("permit", listed), Coding(RESOURCE_TYPES, listed)) == DENY


def test_the_list_of_resource_types_is_that_of_the_release():
    """Those that the library's release has too are spelt as it spells them; the rest R4B took out or renamed."""
    gone = {each for each in resource_types.CONCRETE if not is_of_the_library(each)}
    began = ("EffectEvidence", "RiskEvidence", "MedicinalProduct", "Substance")
    assert all(each.startswith(began) for each in gone)
    assert (len(resource_types.CONCRETE), len(gone)) == (146, 18)
    assert all(map(is_of_the_library, resource_types.ABSTRACT))


def is_of_the_library(name):
    try:
        return issubclass(get_fhir_model_class(name), get_fhir_model_class("Resource"))
    except ValueError:
        return False


@EXAMPLES
@given(consents(rules(0, "permit")), UNCLASSED)
def test_what_every_item_may_go_under_is_permitted(consent, ask):
    """The answer is not closed for its own sake: where each item goes, so does the question."""
    everything = [(frozenset(labels), kind) for labels in ((), LABELS, LABELS[:1]) for kind in CLASSES]
    every = all(about(consent.root, ask, item) for item in everything)
    assert not every or decide(consent, ask).decision == PERMIT
