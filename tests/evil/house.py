"""A whole small Handslag in one process: a real HTTPS gateway over real TLS, real connectors on real files, and a core
behind the gateway that may lie.

`Liar` is the product's broker with doors to lie through; untouched it is honest, which is every test's control. It
sees all that a connector sends, as an operator does.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from broker import admissions, initialise, pki, settings
from broker.actfiles import ActFiles, private_key, signed_by
from broker.gateway.server import serve_gateway
from broker.metrics import Metrics
from broker.node import Node, opened
from broker.streams import days_of
from broker.worker import drain
from connectors import commands, enrolment, executor, runner
from connectors.adapters.folder import Folder
from connectors.client import Connector
from connectors.context import clock
from connectors.enrolment import Unit
from deploy.demo.play import _set
from schemas import calls
from schemas.admin import ADMIT, AdminTarget
from schemas.calls import FetchAnswer, InviteRequest, ProofsAnswer, SubmitRequest, UnitsAnswer
from schemas.envelope import Attempt, Submission
from schemas.errors import HandslagError
from schemas.inbox import InboxItem

LEAD, POLICE, PROBATION = "social_services_lead", "police_coordination", "prison_probation"
UNITS = {
    "social": Unit(unit="SOC/EXEMPEL/KONSULT", agency="SOC/EXEMPEL", controller="SOC-EXEMPEL", roles=(LEAD,)),
    "police": Unit(unit="POL/EXEMPEL/SYD", agency="POL/EXEMPEL", controller="POL-EXEMPEL", roles=(POLICE,)),
}
PERSON = {"name": "Tolvan Tolvansson", "personal_identity_number": "191212121212"}
Lie = Callable[..., Awaitable[Any]]
"""Given the honest answer as a call, and what was asked."""


class Liar:
    """The core behind the gateway: passes every call on, unless `lies` has something else to say to its answer."""

    def __init__(self, core: Any) -> None:
        self._core = core
        self.lies: dict[str, Lie] = {}
        self.submissions: list[Submission] = []
        self.invitations: list[InviteRequest] = []
        self.consents_seen = 0

    def __getattr__(self, name: str) -> Any:
        honest = getattr(self._core, name)

        async def call(*arguments: Any) -> Any:
            if name in self.lies:
                return await self.lies[name](lambda: honest(*arguments), *arguments)
            return await honest(*arguments)

        return call

    async def submit(self, unit: str, request: SubmitRequest) -> Any:
        self.submissions += request.submissions
        return await self._core.submit(unit, request)

    async def invite(self, unit: str, request: InviteRequest) -> Any:
        self.invitations.append(request)
        return await self._core.invite(unit, request)

    async def consents(self, unit: str, request: calls.ConsentsRequest) -> Any:
        self.consents_seen += 1
        if "consents" in self.lies:
            return await self.lies["consents"](lambda: self._core.consents(unit, request))
        return await self._core.consents(unit, request)

    def sealed_to(self) -> set[bytes]:
        """Ids of all keys that anything was ever sealed to."""
        every = [*self.submissions, *(invite.submission for invite in self.invitations)]
        return {wrap.seat_key_id for one in every for wrap in Attempt.from_bytes(one.attempt).wraps}


class Agency:
    """One connector with the steps its runner would take, and what its agency's system was given."""

    def __init__(self, connector: Connector) -> None:
        self.connector = connector
        self.ctx = connector.context
        self.folder = Folder(self.ctx.settings.folder, self.ctx)
        self.failed: list[str] = []
        self.ahead_us = 0
        self.ctx.now = lambda: clock() + self.ahead_us

    async def beat(self) -> None:
        """Every step of the runner once; a step that fails does not keep another from its turn."""
        self.failed = []
        for _name, _seconds, step in runner._steps(self.ctx, self.folder):
            try:
                await step()
            except HandslagError as error:
                self.failed.append(error.code)

    def command(self, **values: Any) -> bytes:
        return executor.submit(self.ctx, commands.read(json.dumps(values).encode()))

    def files(self, folder: str, **wanted: Any) -> list[dict[str, Any]]:
        found = []
        for path in sorted((self.ctx.settings.folder / folder).glob("*.json"), key=lambda p: p.stat().st_mtime_ns):
            value = json.loads(path.read_text())
            if all(value.get(name) == expected for name, expected in wanted.items()):
                found.append(value)
        return found


@dataclasses.dataclass
class House:
    """Broker, liar and agencies."""

    node: Node
    liar: Liar
    agencies: dict[str, Agency]

    @property
    def social(self) -> Agency:
        return self.agencies["social"]

    @property
    def police(self) -> Agency:
        return self.agencies["police"]

    async def settle(self, rounds: int = 3) -> None:
        """Let everything that can happen happen."""
        for _ in range(rounds):
            for agency in self.agencies.values():
                await agency.beat()
                for bucket in await self.node.context.stream.waiting():
                    await drain(self.node.context, bucket)
            await self.node.sealer.beat()

    async def case(self, ref: str, theirs: str) -> None:
        """A case of social services that the police have joined, with grants both ways."""
        self.social.command(do="open_case", ref=ref, role=LEAD)
        await self.settle(1)
        self.social.command(**grant(ref, [{"unit": UNITS["police"].unit}], ["IC01", "IC12"], ["INTAKE"]))
        await self.settle(1)
        earlier = self.police.files("out", kind="invitation")
        self.social.command(
            do="invite", ref=ref, unit=UNITS["police"].unit, role=POLICE, contact="Konsult EXEMPEL", person=PERSON
        )
        while len(invitations := self.police.files("out", kind="invitation")) == len(earlier):
            await self.settle(1)
        invitation = invitations[-1]["invitation"]
        self.police.command(do="accept", ref=theirs, invitation=invitation)
        await self.settle(2)
        self.social.command(**grant(ref, [{"role": POLICE}], ["IC01", "IC04", "IC12"], ["THREAT_ASSESSMENT"]))
        self.police.command(**grant(theirs, [{"role": LEAD}], ["IC04", "IC12"], ["THREAT_ASSESSMENT"]))
        await self.settle(1)
        assert self.police.ctx.identities.get(theirs).active


def grant(ref: str, recipients: list[dict[str, str]], categories: list[str], purposes: list[str]) -> dict[str, Any]:
    until = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    return {
        "do": "grant", "ref": ref, "recipients": recipients, "categories": categories, "purposes": purposes,
        "valid_until": until, "text_version": "EXEMPEL-2", "terms_version": "EXEMPEL-1",
        "processing_acknowledged": True, "method": "WRITTEN",
    }  # fmt: skip


def request_assessment(ref: str, *, to: str = POLICE, text: str = "Uppger hot.") -> dict[str, Any]:
    return {
        "do": "send", "ref": ref, "event_type": "threat_assessment_requested", "to": [to],
        "purpose": "THREAT_ASSESSMENT", "confirmed": True,
        "data": {"person_name": PERSON["name"], "reason_code": "EXIT_WISH", "urgency": "ACUTE",
                 "known_facts": [{"statement_kind": "ASSESSMENT", "text": text}]},
    }  # fmt: skip


def assessment(ref: str, level: str = "HIGH") -> dict[str, Any]:
    until = (datetime.now(UTC) + timedelta(days=60)).date().isoformat()
    return {
        "do": "send", "ref": ref, "event_type": "threat_assessment_completed", "to": [LEAD],
        "purpose": "THREAT_ASSESSMENT", "confirmed": True, "public_interest_released": ["IC04"],
        "data": {"threat_level": level, "capability_known": True, "assessed_until": until, "withheld_part": False,
                 "released_by_decision_ref": "EXEMPEL-1"},
    }  # fmt: skip


def changed(answer: FetchAnswer, change: Callable[[Iterable[InboxItem]], Iterable[InboxItem]]) -> FetchAnswer:
    """An inbox answer with other items."""
    return dataclasses.replace(answer, items=tuple(change(answer.items)))


def without_proofs(answer: ProofsAnswer) -> ProofsAnswer:
    return ProofsAnswer(proofs=tuple(dataclasses.replace(each, proof=None) for each in answer.proofs))


def directory_with(answer: UnitsAnswer, change: Callable[[Any], Any]) -> UnitsAnswer:
    return UnitsAnswer(units=tuple(change(each) for each in answer.units))


@asynccontextmanager
async def house(
    folder: Path, *, servers: Mapping[str, Mapping[str, Any]] | None = None, **configured: Any
) -> AsyncIterator[House]:
    """Set everything up; `servers` are the broker's tables, `configured` further settings of every connector."""
    made = initialise.initialise(
        folder / "broker",
        initialise.InitPlan("127.0.0.1:0", ("127.0.0.1",), "exempel.invalid/audit", None, "127.0.0.1:0"),
        datetime.now(UTC),
    )
    for name, table in (servers or {}).items():
        _set(made.config, name, "{ " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in table.items()) + " }")
    loaded = settings.load(made.config)
    days = days_of(loaded)
    store, vault = opened(loaded, days)
    async with AsyncExitStack() as stack:
        stack.callback(vault.close)
        stack.callback(store.close)
        answers = _admitted(folder, loaded, made.log_key, configured)
        node = Node(loaded, Metrics(), store, vault, days=days)
        liar = Liar(await node.open_log())
        if servers:
            await stack.enter_async_context(node.carrier.open())
        await node.sealer.start()
        await node.sealer.beat()
        serving = await stack.enter_async_context(serve_gateway(liar, loaded, node.metrics))
        for name, answer in answers.items():
            answer["broker_url"] = f"https://127.0.0.1:{serving.gateway.port}"
            (folder / name / "answer.json").write_text(json.dumps(answer))
            enrolment.enrol(folder / name / "connector.toml", folder / name / "answer.json")
        _trusted(folder, loaded)
        agencies = {}
        for name in UNITS:
            connector = await stack.enter_async_context(Connector(folder / name / "connector.toml"))
            agencies[name] = Agency(connector)
        yield House(node, liar, agencies)


def _admitted(folder: Path, loaded: Any, vkey: str, configured: dict[str, Any]) -> dict[str, dict[str, str]]:
    authority = _authority(loaded)
    answers, known = {}, []
    for name, who in UNITS.items():
        enrolment.initialise(folder / name, who, None, configured)
        request = admissions.read_request((folder / name / "request.json").read_bytes())
        admission = admissions.admit(request, authority, known, datetime.now(UTC))
        known.append(admission)
        admissions.save(loaded.data_dir, admission)
        signed_for(loaded, admission)
        answers[name] = {
            "ca_pem": authority.pem.decode(), "broker_url": "", "origin": loaded.origin, "log_key": vkey,
            "certificate_pem": admission.certificate_pem,
        }  # fmt: skip
    return answers


def signed_for(loaded: Any, admission: Any) -> None:
    """Two administrators sign for a unit, as `handslag agency admit` has it done."""
    files = ActFiles(loaded.data_dir, loaded.origin)
    target = AdminTarget(unit=admission.unit, subject=admissions.subject(admission))
    signed = files.draft(ADMIT, 0, targets=[target])
    for key in (loaded.administration.first_key_file, loaded.administration.second_key_file):
        signed = signed_by(signed, private_key(key), files.chain)
    files.append(signed)


def _authority(loaded: Any) -> pki.Authority:
    from broker.cli import _authority as from_settings

    return from_settings(loaded)


def _trusted(folder: Path, loaded: Any) -> None:
    from broker.cli import _vkey
    from broker.keyfiles import supervisor_key

    statement = admissions.trust_statement(
        loaded.origin, _vkey(loaded), supervisor_key(loaded.supervisor_key_file), admissions.load_all(loaded.data_dir)
    )
    listed = folder / "trust.toml"
    listed.write_text(admissions.trust_draft(statement))
    for name, who in UNITS.items():
        listed.write_text(enrolment.sign_trust(listed, who.agency, folder / name / "keys" / "agency.key"))
    for name in UNITS:
        enrolment.install_trust(folder / name / "connector.toml", listed, enrolment.fingerprint_of(listed))
