"""An agency's system written against the public client: sends a number of assessments, or takes what comes.

    python -m tests.bench.agency send CONFIG REF COUNT
    python -m tests.bench.agency take CONFIG
    python -m tests.bench.agency withdraw CONFIG REF COUNT

`send` prints seconds from the first `send` to the last `delivery_acknowledged`, and where its own time went; `take`
acknowledges deliveries for ever; `withdraw` waits for a file `go` beside its configuration, then records a consent and
withdraws it COUNT times, and prints the milliseconds that each withdrawal took to be answered.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from connectors.client import Connector

EVENT: dict[str, Any] = {
    "event_type": "threat_assessment_completed",
    "to": ["social_services_lead"],
    "purpose": "THREAT_ASSESSMENT",
    "statement_kind": "ASSESSMENT",
    "public_interest_released": ["IC04", "IC06"],
    "data": {
        "threat_level": "HIGH",
        "capability_known": True,
        "assessed_until": "2099-12-31",
        "withheld_part": True,
        "released_by_decision_ref": "EXEMPEL-beslut-3",
        "recommended_protection": ["ALARM", "AVOID_PLACES"],
    },
}
"""Two sections (IC04, IC06), one recipient."""


async def send(config: Path, ref: str, count: int) -> None:
    async with Connector(config) as connector:
        await connector.beat()
        print("ready", flush=True)
        began = time.perf_counter()
        sent = {await connector.send(ref, **EVENT) for _ in range(count)}
        submitted = time.perf_counter()
        first = None
        async for messages in connector.receive_many():
            connector.ack(*messages)
            for message in messages:
                if message.kind == "refused":
                    sys.exit(json.dumps(message.value))
                if message.value.get("code") == "delivery_acknowledged":
                    if first is None:
                        first = time.perf_counter()
                        print("moving", flush=True)
                    sent.discard(message.value["event_id"])
            if not sent:
                break
        ended = time.perf_counter()
    print(json.dumps({"seconds": ended - began, "accepted_s": submitted - began, "first_s": (first or 0) - began}))


async def take(config: Path) -> None:
    this = asyncio.current_task()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    async with Connector(config) as connector:
        await connector.beat()
        print("ready", flush=True)
        try:
            async for messages in connector.receive_many():
                connector.ack(*messages)
        except asyncio.CancelledError:
            return


_TERMS: dict[str, Any] = {
    "recipients": [{"role": "social_services_lead"}],
    "categories": ["IC04"],
    "purposes": ["THREAT_ASSESSMENT"],
    "valid_until": "2099-12-31T00:00:00Z",
    "text_version": "EXEMPEL-sv-1",
    "terms_version": "EXEMPEL-1",
    "processing_acknowledged": True,
    "method": "WRITTEN",
}


async def withdraw(config: Path, ref: str, count: int) -> None:
    taken = []
    async with Connector(config) as connector:
        await connector.beat()
        print("ready", flush=True)
        while not config.with_name("go").exists():
            await asyncio.sleep(0.02)
        for _ in range(count):
            given = await connector.grant(ref, **_TERMS)
            began = time.perf_counter()
            await connector.withdraw(ref, given["consent"])
            taken.append(round((time.perf_counter() - began) * 1000, 2))
    print(json.dumps(taken))


if __name__ == "__main__":
    if sys.argv[1] == "send":
        asyncio.run(send(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
    elif sys.argv[1] == "withdraw":
        asyncio.run(withdraw(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
    else:
        asyncio.run(take(Path(sys.argv[2])))
