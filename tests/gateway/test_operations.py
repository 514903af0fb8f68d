"""Health and metrics: what is told, and what can never be a label."""

import asyncio
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from broker.metrics import LABELS, Metrics
from schemas.codes import Outcome
from schemas.errors import HandslagError
from tests.gateway.support import UNIT

ALLOWED = {"outcome", "state", "call", "code", "quota", "kind", "traffic", "certificate", "sqlstate", "le"}
FORBIDDEN = {"unit", "municipality", "case", "seat", "event_type", "role", "agency", "category"}


async def probe(line, path):
    async with line.session.get(line.operations + path) as answer:
        return answer.status, await answer.json(content_type=None)


async def scraped(line):
    async with line.session.get(line.operations + "/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return {family.name: family for family in text_string_to_metric_families(await answer.text())}


async def test_a_healthy_broker_says_so(line):
    for path in ("/livez", "/readyz", "/startupz"):
        assert await probe(line, path) == (200, {"ok": True, "reasons": []})
    assert (await scraped(line))["handslag_ready"].samples[0].value == 1


async def test_readiness_tells_reasons_as_codes(line):
    line.core.reasons = ("HS-BROKER-BEHIND",)
    assert await probe(line, "/readyz") == (503, {"ok": False, "reasons": ["HS-BROKER-BEHIND"]})
    assert (await probe(line, "/livez"))[0] == 200
    assert (await scraped(line))["handslag_ready"].samples[0].value == 0


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(HandslagError("HS-NOT-READY"), "HS-NOT-READY"), (RuntimeError("19121212-1212"), "HS-INTERNAL")],
)
async def test_a_failing_probe_means_not_ready(line, fault, reason):
    line.core.raises = fault
    assert await probe(line, "/readyz") == (503, {"ok": False, "reasons": [reason]})


async def test_a_silent_core_means_not_ready_within_two_seconds(line):
    async def silent():
        await asyncio.sleep(60)

    line.core.readiness = silent
    async with asyncio.timeout(2):
        assert await probe(line, "/readyz") == (503, {"ok": False, "reasons": ["CORE-SILENT"]})


async def test_the_operations_port_has_nothing_else(line):
    for path in ("/", "/v1/units", "/metrics/x"):
        async with line.session.get(line.operations + path) as answer:
            assert answer.status == 404


async def test_calls_and_refusals_are_counted_by_name_and_code(line):
    await line.get("/v1/units")
    await line.post("/v1/nothing", b"")
    families = await scraped(line)
    counts = {
        sample.labels["call"]: sample.value
        for sample in families["handslag_call_duration_seconds"].samples
        if sample.name.endswith("_count")
    }
    assert (counts["units"], counts["unknown"]) == (1, 1)
    refusals = {s.labels["code"]: s.value for s in families["handslag_refusals"].samples}
    assert refusals["HS-CALL-UNKNOWN"] == 1


def exercised():
    now = [100.0]
    metrics = Metrics(clock=lambda: now[0])
    metrics.submitted(2)
    for outcome in Outcome:
        metrics.decided(outcome)
    metrics.handed_over(1)
    metrics.acknowledged()
    metrics.acknowledged(rejected=True)
    metrics.overdue(1)
    metrics.expired(1)
    metrics.refused("HS-TOO-LARGE")
    metrics.refused(UNIT)
    metrics.called("fetch", 0.01)
    metrics.called(UNIT, 0.01)
    metrics.withdrew(0.02)
    metrics.batched(0.03)
    metrics.pending(3, 12.5)
    metrics.beat(64)
    metrics.checkpointed()
    metrics.wal(4096)
    metrics.submitted(1, probe=True)
    metrics.certificate_ends("server", 1.0)
    metrics.undecided(1, 2.0)
    metrics.unsealed(1, 2.0)
    metrics.disk(1, 2, 3)
    metrics.contradicted(False)
    metrics.contacts(1.0, 2.0, -2.0)
    metrics.looked()
    metrics.ready(True)
    metrics.undone("25P03")
    metrics.undone(UNIT)
    now[0] = 107.0
    return metrics.render().decode()


def test_labels_come_from_closed_lists():
    text = exercised()
    assert set(LABELS) | {"le"} == ALLOWED
    seen = set()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            for name, value in sample.labels.items():
                seen.add(name)
                assert name == "le" or value in LABELS[name]
    assert seen == ALLOWED  # positive control: every list is in use
    assert not seen & FORBIDDEN
    assert UNIT not in text


def test_names_follow_the_conventions_and_have_help():
    text = exercised()
    families = list(text_string_to_metric_families(text))
    assert len(families) > 15
    for family in families:
        assert re.fullmatch(r"handslag_[a-z_]+", family.name)
        assert family.documentation.endswith(".")
        assert "_created" not in family.name
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
    assert len([line for line in text.splitlines() if not line.startswith("#")]) < 2000


def test_ages_are_told_at_the_moment_of_the_scrape():
    values = {s.name: s.value for f in text_string_to_metric_families(exercised()) for s in f.samples if not s.labels}
    assert values["handslag_beat_age_seconds"] == values["handslag_checkpoint_age_seconds"] == 7
    assert values["handslag_log_entries"] == 64
    assert values["handslag_delivery_oldest_pending_age_seconds"] == 12.5
