"""The doctor says when a connector's slots are not everybody's."""

from __future__ import annotations

from connectors.doctor.examine import examine


def told(config) -> list[tuple[str, str | None]]:
    found, _network = examine(config, network=False)
    return [(one.found.code, one.found.field) for one in found if one.found.code == "N-SLOTS"]


async def test_slots_of_its_own_are_told(world) -> None:
    assert told(world.config) == []
    world.config.write_text(f"slot_s = 600\n{world.config.read_text()}")
    assert told(world.config) == [("N-SLOTS", "slot_s")]
