"""What is counted is what the metric's text says."""

from __future__ import annotations

import re

from tests.site import LEAD, Site, to_role


def withdrawals(site):
    text = site.context.metrics.render().decode()
    return float(re.search(r"^handslag_withdrawal_duration_seconds_count (\S+)$", text, re.MULTILINE)[1])


async def test_only_withdrawals_count_as_withdrawals(tmp_path):
    site = Site(tmp_path / "broker")
    try:
        await site.whole_case()
        consent = await site.grant(site.police, [to_role(LEAD)], ["IC04"], ["THREAT_ASSESSMENT"])
        assert withdrawals(site) == 0
        await site.act(site.police, "WITHDRAW", consent)
        assert withdrawals(site) == 1
        await site.withdraw_case(site.probation)
        assert withdrawals(site) == 2
    finally:
        site.close()
