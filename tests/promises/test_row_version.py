"""A hand-over names the row version that its bytes were made from: what lost a section meanwhile waits a turn."""

from __future__ import annotations

from tests.promises.test_no_release_after_ack import a_site, narrowed_after_deciding


async def test_what_was_narrowed_between_look_and_hand_over_is_not_handed(tmp_path):
    site = await a_site(tmp_path)
    assert await narrowed_after_deciding(site, "PART") == []
    site.close()
