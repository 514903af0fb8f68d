"""A gateway as a process of its own with few descriptors: `python -m tests.hostile.flooded FOLDER CERTIFICATE BOUNDS`.

FOLDER holds the files of a test authority, CERTIFICATE is the SHA-256 of the one admitted unit's, BOUNDS are those of
the listener as JSON. Prints the two ports as JSON; ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from pathlib import Path

from broker import logs
from broker.gateway.server import serve_gateway
from broker.metrics import Metrics
from tests.gateway.support import UNIT, CoreForHttpTests, settings_for

DESCRIPTORS = 300


async def main(folder: Path, certificate: str, bounds: dict[str, float]) -> None:
    logs.configure()
    asyncio.get_running_loop().set_exception_handler(logs.quiet_loop_handler)
    core = CoreForHttpTests(admitted={bytes.fromhex(certificate): UNIT})
    settings = settings_for(folder, folder)
    settings = settings.model_copy(update={"connections": settings.connections.model_copy(update=bounds)})
    async with serve_gateway(core, settings, Metrics()) as serving:
        # Only now: the bounds must hold by themselves, and a broker without them must run out of descriptors.
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        print(json.dumps({"gateway": serving.gateway.port, "operations": serving.operations.port}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])))
