"""One running connector per data folder."""

import subprocess
import sys

import pytest

from connectors.spool.alone import sole_runner
from schemas.errors import HandslagError

HOLD = "import sys, pathlib\nfrom connectors.spool.alone import sole_runner\n" \
    "with sole_runner(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"  # fmt: skip


def test_two_connectors_never_share_a_data_folder(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(HandslagError, match="HS-CONNECTOR-RUNNING"), sole_runner(tmp_path):
            pass
        other.kill()
        other.wait()
    with sole_runner(tmp_path):
        pass  # the dead process holds nothing
