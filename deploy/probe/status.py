"""`handslag probe status`: the probe's metrics in three lines, for whoever has a shell and no dashboard."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from deploy.probe.settings import ProbeSettings
from schemas.errors import HandslagError

PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class ProbeStatus:
    """Seconds since each kind last came out as it must; `broken` is a cause, or None."""

    released_s: int
    withheld_s: int
    withdrawal_s: int
    late: bool
    wrong: int
    broken: str | None
    log_contradicted: bool

    @property
    def healthy(self) -> bool:
        """Whether nobody needs to be woken."""
        return not (self.late or self.wrong or self.broken or self.log_contradicted)

    def as_json(self) -> dict[str, Any]:
        """The fields by name, and `healthy`."""
        return {"healthy": self.healthy, **asdict(self)}


def asked(settings: ProbeSettings) -> ProbeStatus:
    """Ask the running probe; raises `HS-PROBE-SILENT`."""
    try:
        with urllib.request.urlopen(f"http://{settings.address}/metrics", timeout=PATIENCE_S) as answer:
            text = answer.read().decode()
    except (OSError, ValueError, urllib.error.URLError):
        raise HandslagError("HS-PROBE-SILENT") from None
    values: dict[str, dict[str, float]] = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values[sample.name][next(iter(sample.labels.values()), "")] = sample.value
    return _read(values, settings)


def _read(values: dict[str, dict[str, float]], settings: ProbeSettings) -> ProbeStatus:
    last = values["handslag_probe_last_success_timestamp_seconds"]
    ages = {kind: max(0, int(time.time() - at)) for kind, at in last.items()}
    patient_s = settings.interval_s * 3 + settings.patience_s
    return ProbeStatus(
        released_s=ages["released"],
        withheld_s=ages["withheld"],
        withdrawal_s=ages["withdrawal"],
        late=max(ages["released"], ages["withheld"]) > patient_s
        or ages["withdrawal"] > settings.withdrawal_every_s * 2 + patient_s,
        wrong=int(sum(values["handslag_probe_wrong_outcomes_open"].values())),
        broken=next((cause for cause, on in values["handslag_probe_broken"].items() if on), None),
        log_contradicted=bool(values["handslag_probe_log_contradicted"][""]),
    )


_WORDS = {
    "en": ("released {} s ago, withheld {} s ago, withdrawal {} s ago", "WELL", "NOT WELL: see the runbook",
           "WRONG: {} test messages arrived that must not have. Page the system owner now.",
           "The probe itself is broken ({}): it says nothing about the path.", "A witness saw the log go back."),
    "sv": ("framme för {} s sedan, stoppat för {} s sedan, återkallat för {} s sedan", "BRA",
           "INTE BRA: följ instruktionen",
           "FEL: {} testmeddelanden kom fram som inte fick det. Larma systemägaren nu.",
           "Sonden själv är trasig ({}): den säger inget om vägen.", "Ett vittne såg loggen gå bakåt."),
}  # fmt: skip


def lines(seen: ProbeStatus, lang: str) -> list[str]:
    """What to read at three in the morning, the worst first."""
    ages, well, not_well, wrong, broken, back = _WORDS[lang]
    told = [well if seen.healthy else not_well]
    if seen.wrong:
        told.append(wrong.format(seen.wrong))
    if seen.log_contradicted:
        told.append(back)
    if seen.broken:
        told.append(broken.format(seen.broken))
    return [*told, ages.format(seen.released_s, seen.withheld_s, seen.withdrawal_s)]
