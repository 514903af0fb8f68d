"""Plants every fault of docs/faults.md for real, from that page alone: what is wrong, and what follows from it.

Each room beside this file has the plants of one part; what a plant is says planting.py. They come in this order.
"""

from __future__ import annotations

from tests.doctor import (
    planting,
    seed_answers,
    seed_broker,
    seed_certificates,
    seed_keys,
    seed_network,
    seed_spool,
)

ROOMS = (seed_certificates, seed_network, seed_keys, seed_answers, seed_spool, seed_broker)
SEEDED = {
    name: seeded
    for room in ROOMS
    for name, seeded in planting.SEEDED.items()
    if seeded.plant.__module__ == room.__name__
}


def planted_codes() -> frozenset[str]:
    """Every fault that some plant is about."""
    return frozenset(code for each in SEEDED.values() for code in each.faults)
