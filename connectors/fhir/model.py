"""A FHIR R4 Consent read from JSON by the library fhir.resources, and what of it bears on a decision.

R4 (4.0.1) and R4B (4.3.0) define the same Consent; the library maintains the latter's models. It is an optional part of
an installation and is imported here only, when it is needed. What it takes and FHIR's JSON does not have (empty lists,
numbers for times, doubled names) is refused before: an element that vanishes in reading would widen a permission.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from connectors.fhir import bodies, moments
from consent.fhir.systems import SCOPE
from consent.fhir.terms import Actor, Body, Coding, DataPeriod, DataRef, FhirConsent, Provision, Span
from schemas.errors import HandslagError

if TYPE_CHECKING:
    from fhir.resources.R4B.consent import Consent

LIMIT = 1 << 20  # bytes of one file
_DEPTH, _RULES = 12, 500  # of the tree of provisions
_LEVELS = 64  # of the JSON: far more than a tree of that depth has
_TIMES = frozenset({"start", "end", "dateTime", "verificationDate"})
_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9]*")
_STATUSES = frozenset({"draft", "proposed", "active", "rejected", "inactive", "entered-in-error"})
_TYPES = frozenset({"permit", "deny"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """One Consent: what decides, the whole model, the elements that stand in it, and its file's SHA-256 (32 bytes).

    `extended`: somewhere in its rule stands an extension; FHIR lets a reader pass over it, an officer may not.
    """

    consent: FhirConsent
    model: Consent
    present: frozenset[str]
    extended: bool
    sha256: bytes


def load(data: bytes, known: Iterable[bytes] = ()) -> Loaded:
    """Read a Consent; `known` are files with the resources (or bundles of them) that its references name.

    Raises `HS-FHIR-EXTRA` when the library is not installed, `HS-TOO-LARGE`, `HS-FHIR-INVALID` naming the element.
    """
    raw = _plain(data)
    _scope_of_category(raw)
    model = _modelled(raw)
    if model.status not in _STATUSES:
        raise _invalid("status")
    found = _bodies(known, model.contained or [])
    rules = _Rules({each.reference: each for each in found})
    consent = FhirConsent(
        status=str(model.status),
        scope=_codings([model.scope]),
        category=_codings(model.category),
        patient=model.patient is not None,
        issued_us=None if model.dateTime is None else moments.first(model.dateTime),
        policy_rules=_codings([model.policyRule]),
        verified=tuple(each.verified for each in model.verification or []),
        root=None if model.provision is None else rules.read(model.provision, "provision", _DEPTH),
        unclear=bool(model.modifierExtension) or model.implicitRules is not None or "_implicitRules" in raw,
        bodies=found,
    )
    return Loaded(
        consent=consent,
        model=model,
        present=frozenset(raw),
        extended=_extended(raw.get("provision")),
        sha256=hashlib.sha256(data).digest(),
    )


def checked(resource: Mapping[str, Any]) -> dict[str, Any]:
    """A Consent that was made here, as the library writes it; raises `HS-FHIR-EXTRA`, `HS-FHIR-INVALID`."""
    written: dict[str, Any] = json.loads(_modelled(resource).model_dump_json())
    return written


def installed() -> bool:
    """Whether this installation has the extra `handslag[fhir]`."""
    try:
        import fhir.resources.R4B  # noqa: F401
    except ImportError:
        return False
    return True


def _modelled(raw: Mapping[str, Any]) -> Consent:
    if not installed():
        raise HandslagError("HS-FHIR-EXTRA", part="handslag[fhir]")
    from fhir.resources.R4B.consent import Consent
    from pydantic import ValidationError

    try:
        return Consent.model_validate(raw)
    except ValidationError as wrong:
        raise _invalid(_place(wrong.errors()[0]["loc"])) from None
    except (ValueError, TypeError, RecursionError):
        raise _invalid("Consent") from None


def _place(loc: Iterable[int | str]) -> str:
    """Where it is wrong, in FHIR's own names; a name that the input made up is not repeated."""
    own = {"Consent", *_element_names()}
    names = [str(part) for part in loc if not isinstance(part, int)]
    return ".".join(name if name in own else "unknown element" for name in names) or "Consent"


def _element_names() -> set[str]:
    from fhir.resources.R4B import consent, period, reference

    kinds: tuple[Any, ...] = (consent.Consent, consent.ConsentPolicy, consent.ConsentVerification)
    kinds += (consent.ConsentProvision, consent.ConsentProvisionActor, consent.ConsentProvisionData)
    kinds += (period.Period, reference.Reference)
    return {field.alias or name for kind in kinds for name, field in kind.model_fields.items()}


def _plain(data: bytes) -> dict[str, Any]:
    """The file's JSON object, free of what FHIR's JSON does not have."""
    if len(data) > LIMIT:
        raise HandslagError("HS-TOO-LARGE", limit=LIMIT)
    try:
        raw = json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise _invalid("json") from None
    if not isinstance(raw, dict) or raw.get("resourceType") not in {"Consent"}:
        raise _invalid("resourceType")
    _check(raw)
    return raw


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice")
    return made


def _no_constant(_text: str) -> None:
    raise ValueError("no JSON")


def _check(value: Any, name: str = "", levels: int = _LEVELS) -> None:
    if levels == 0:
        raise _invalid("json")
    if value is None or value in ("", [], {}):
        raise _invalid("empty element")
    if name in _TIMES and not isinstance(value, str):
        raise _invalid(name)
    if name == "verified" and not isinstance(value, bool):
        raise _invalid(name)
    if isinstance(value, dict):
        for key, each in value.items():
            if not _NAME.fullmatch(key):
                raise _invalid("unknown element")
            _check(each, key, levels - 1)
    elif isinstance(value, list):
        for each in value:
            _check(each, "", levels - 1)


def _extended(value: Any) -> bool:
    if isinstance(value, dict):
        return any(key == "extension" or key.startswith("_") or _extended(each) for key, each in value.items())
    return isinstance(value, list) and any(map(_extended, value))


def _scope_of_category(raw: dict[str, Any]) -> None:
    """Where the scope is missing, take the one category that is a scope, as consents of other releases have it."""
    if "scope" in raw or not isinstance(raw.get("category"), list):
        return
    found = [
        concept
        for concept in raw["category"]
        if isinstance(concept, dict)
        and isinstance(concept.get("coding"), list)
        and any(isinstance(coding, dict) and coding.get("system") == SCOPE for coding in concept["coding"])
    ]
    if len(found) == 1:
        raw["scope"] = found[0]


def _resources(known: Iterable[bytes]) -> Iterator[Any]:
    """Resources of files that were given beside the consent, each read by the library's model of its type."""
    for data in known:
        if len(data) > LIMIT:
            raise HandslagError("HS-TOO-LARGE", limit=LIMIT)
        try:
            raw = json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
            rows = [raw]
            if raw["resourceType"] == "Bundle":
                rows = [entry["resource"] for entry in raw.get("entry", [])]
            for row in rows:
                yield _resource(row)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise _invalid("known resource") from None


def _resource(row: dict[str, Any]) -> Any:
    if not installed():
        raise HandslagError("HS-FHIR-EXTRA", part="handslag[fhir]")
    from fhir.resources.R4B import get_fhir_model_class

    return get_fhir_model_class(row["resourceType"]).model_validate(row)


def _bodies(known: Iterable[bytes], contained: Iterable[Any]) -> tuple[Body, ...]:
    try:
        return tuple(bodies.directory(_resources(known), contained))
    except ValueError:
        raise _invalid("known resource") from None


def _codings(concepts: Iterable[Any] | None) -> tuple[Coding, ...]:
    """Codings of several concepts; one that stands in words only is kept as a coding that equals nothing."""
    found: list[Coding] = []
    for concept in concepts or []:
        if concept is not None:
            found += _plain_codings(concept.coding) or [Coding("", "")]
    return tuple(found)


def _plain_codings(codings: Iterable[Any] | None) -> list[Coding]:
    return [Coding(each.system or "", each.code or "") for each in codings or []]


class _Rules:
    """Reads the tree of provisions, within bounds."""

    def __init__(self, directory: Mapping[str, Body]) -> None:
        self._directory = directory
        self._left = _RULES

    def read(self, rule: Any, path: str, depth: int) -> Provision:
        """One provision and those within it; raises `HS-FHIR-INVALID`."""
        self._left -= 1
        if depth == 0 or self._left < 0:
            raise _invalid("provision")
        if rule.type is not None and rule.type not in _TYPES:
            raise _invalid("provision.type")
        if rule.dataPeriod is not None:
            _span(rule.dataPeriod, "provision.dataPeriod")
        return Provision(
            path=path,
            type=rule.type,
            period=None if rule.period is None else _span(rule.period, "provision.period"),
            actors=tuple(map(self._actor, rule.actor or [])),
            actions=_codings(rule.action),
            purposes=tuple(_plain_codings(rule.purpose)),
            labels=tuple(_plain_codings(rule.securityLabel)),
            classes=tuple(_plain_codings(rule.class_fhir)),
            codes=_codings(rule.code),
            data=tuple(DataRef(str(each.meaning), _data_name(each.reference)) for each in rule.data or []),
            data_period=None if rule.dataPeriod is None else _data_period(rule.dataPeriod),
            unclear=_unclear(rule),
            provisions=tuple(
                self.read(each, f"{path}.provision[{place}]", depth - 1)
                for place, each in enumerate(rule.provision or [])
            ),
        )

    def _actor(self, actor: Any) -> Actor:
        reference = actor.reference
        own, name = reference.identifier, reference.reference or ""
        return Actor(
            roles=_codings([actor.role]),
            reference="" if name.startswith("#") else name,
            identifier=None if own is None else bodies.identifier_of(own),
            kind=str(reference.type or ""),
            body=self._directory.get(name) if name else None,
        )


def _data_name(reference: Any) -> str:
    """What content is compared with; of a resource that the consent contains no content can be."""
    for name in bodies.names_of(reference):
        if isinstance(name, Coding):
            return f"{name.system}|{name.code}" if name.whole else ""
        if not name.startswith("#"):
            return name
    return ""


def _span(period: Any, field: str) -> Span:
    """A period; raises `HS-FHIR-INVALID` for one that ends before it starts, as FHIR forbids (invariant per-1)."""
    # INVARIANT: test_a_period_that_ends_before_it_starts_is_refused
    span = moments.span(period.start, period.end)
    if span.from_us is not None and span.until_us is not None and span.from_us >= span.until_us:
        raise _invalid(field)
    return span


def _data_period(period: Any) -> DataPeriod:
    return DataPeriod(moments.spelled(period.start), moments.spelled(period.end))


def _unclear(rule: Any) -> bool:
    """Whether something in a rule is there without a value, or changes the meaning in a way unknown here."""
    parts = [rule, *(rule.actor or []), *(rule.data or [])]
    if any(part.modifierExtension for part in parts):
        return True
    hollow = [
        getattr(part, f"{name}__ext") is not None and getattr(part, name) is None
        for part, names in ((rule, ("type",)), (rule.period, ("start", "end")), (rule.dataPeriod, ("start", "end")))
        if part is not None
        for name in names
    ]
    spans = [each for each in (rule.period, rule.dataPeriod) if each is not None]
    return any(hollow) or any(each.start is None and each.end is None for each in spans)


def _invalid(field: str) -> HandslagError:
    return HandslagError("HS-FHIR-INVALID", field=field)
