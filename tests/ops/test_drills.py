"""Drills: the real fault in a real set-up, seen by a real Prometheus and a real Alertmanager, mended by the runbook.

The commands are the runbook's own, taken from the page. Only the times are shorter than shipped.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import serialization

from broker import pki, settings
from tests.ops import servers
from tests.ops.duty import Duty, Watch, blocks

SOONER = (
    ("> 150\n", "> 10\n"),
    ("< 150\n", "< 10\n"),
    ("> 900", "> 30"),
    ("> 120\n", "> 4\n"),
    ("for: 30s", "for: 2s"),
    ("[5m]) == 0", "[4s]) == 0"),
    ("[2m]) == 0", "[60s]) == 0"),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory, engines):
    """A broker and a probe as services, and who watches them."""
    folder = tmp_path_factory.mktemp("drill")
    config, operations = servers.set_up(folder, beat_s=1.0)
    start = folder / "start.sh"
    log, pid = folder / "broker.log", folder / "broker.pid"
    serve = shlex.join(servers.command("serve", "--config", config))
    start.write_text(f"#!/bin/sh\n{serve} >>{log} 2>&1 </dev/null &\necho $! >{pid}\n")
    start.chmod(0o755)
    subprocess.run([str(start)], check=True)
    try:
        servers.until(lambda: servers.read(f"http://{operations}/readyz"), "the broker is ready")
        fast = {"interval_s": 1.0, "withdrawal_every_s": 5.0, "patience_s": 5.0}
        with (
            servers.probe(folder, config, **fast) as (probe_config, probe),
            servers.alertmanager(folder) as alerts,
            servers.prometheus(folder, operations, probe, alerts, SOONER) as prometheus,
        ):
            engines["Prometheus"] = prometheus.version()
            engines["Alertmanager"] = "Debian"
            duty = Duty(
                folder,
                {
                    "CONFIG": str(config),
                    "DATA": str(config.parent / "data"),
                    "LOG": str(log),
                    "OPERATIONS": operations,
                    "START": str(start),
                    "RELOAD": f"pkill -HUP -F {pid}",  # by the pid in the file, as a service manager does
                    "PROBE": str(probe_config),
                },
            )
            yield Site(folder, config, alerts, prometheus, duty, pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid.read_text()), signal.SIGTERM)


class Site(Watch):
    def __init__(self, folder, config, alerts, prometheus, duty, pid):
        super().__init__(prometheus, alerts)
        self.folder, self.config, self.duty, self.pid = folder, config, duty, pid


def test_a_broker_that_was_killed_rings_and_is_started_by_the_runbook(site):
    steps = blocks("nothing-moves")
    assert "HandslagNothingMoves" not in servers.ringing(site.alerts)  # it was silent before
    os.kill(int(site.pid.read_text()), signal.SIGKILL)
    assert site.rings("HandslagNothingMoves") < 2 * (10 + 1 + 1)
    said = site.duty.does(steps["look"])
    assert "NO ANSWER" in said
    assert "NOT WELL" in said
    site.duty.does(steps["act"])
    site.silent("HandslagNothingMoves")
    servers.until(lambda: site.duty.does(steps["check"]).startswith("WELL"), "the probe says that it is well")
    assert servers.ringing(site.alerts).get("HandslagProbeBroken") is None  # it was the path, and the probe knew


def test_evidence_that_is_not_written_rings_and_the_runbook_mends_it(site):
    steps = blocks("evidence-not-written")
    anchor = site.config.parent / "data/anchor"
    site.silent("HandslagEvidenceNotWritten")
    anchor.chmod(0o644)
    assert site.rings("HandslagEvidenceNotWritten") < 2 * (4 + 5 + 2 + 1 + 1)  # the broker looks at itself every 5 s
    labels = servers.ringing(site.alerts)["HandslagEvidenceNotWritten"]
    assert (labels["severity"], labels["acts"]) == ("critical", "on_call")
    assert "HandslagNothingMoves" not in servers.ringing(site.alerts)  # messages do go through
    said = site.duty.does(steps["look"])
    assert "HS-ANCHOR-INVALID" in said
    assert "-rw-r--r--" in said
    site.duty.does(steps["act"])
    site.silent("HandslagEvidenceNotWritten")
    ages = re.findall(r"^handslag_\w+_seconds (\S+)$", site.duty.does(steps["check"]), re.MULTILINE)
    assert len(ages) == 2
    assert all(float(age) < 4 for age in ages)


def test_a_certificate_that_is_about_to_end_rings_and_is_renewed_by_the_runbook(site):
    steps = blocks("certificate-ending")
    loaded = settings.load(site.config)
    before = loaded.tls.certificate_file.read_bytes()
    key = serialization.load_pem_private_key(loaded.tls.key_file.read_bytes(), None)
    authority = pki.load_authority(
        loaded.admission.ca_certificate_file.read_bytes(), loaded.admission.ca_key_file.read_bytes()
    )
    issued = datetime.now(UTC) - timedelta(days=pki.LEAF_DAYS - 5)
    old = pki.server_certificate(authority, key, ["127.0.0.1"], issued)
    loaded.tls.certificate_file.write_bytes(old.public_bytes(serialization.Encoding.PEM))
    os.kill(int(site.pid.read_text()), signal.SIGHUP)
    site.rings("HandslagCertificateEnding")
    assert servers.ringing(site.alerts)["HandslagCertificateEnding"]["certificate"] == "server"
    assert "F-CERT-SOON" in site.duty.does(steps["look"])
    said = site.duty.does(steps["act"])
    assert "Renewed" in said
    site.silent("HandslagCertificateEnding")
    assert "renew it" not in site.duty.does(steps["check"])
    assert loaded.tls.certificate_file.read_bytes() not in {before, old.public_bytes(serialization.Encoding.PEM)}
    servers.until(
        lambda: site.duty.does('handslag probe status --config "$PROBE"').startswith("WELL"),
        "connectors trust the renewed certificate",
    )
