"""Who may import whom: five floors, downwards only, and one room for each library that is a risk."""

import ast
import json
import subprocess
import sys
from fnmatch import fnmatch

import pytest

from tests.house.tree import ROOMS, ROOT, files, tree

# What each room may use of the other rooms. The front door mounts the groups by name and uses schemas only.
MAY = {
    "schemas": set(),
    "consent": {"schemas"},
    "audit": {"schemas", "consent"},
    "connectors": {"schemas", "consent", "audit"},
    "broker": {"schemas", "consent", "audit"},
    "handslag.py": {"schemas"},
}

# Which files may use a library; a library that is not listed here may be used by nobody.
LIBRARIES = {
    "aiokafka": ("broker/stream/kafka*.py",),
    "aiohttp": ("broker/gateway/*", "connectors/link.py"),
    "alembic": ("broker/store/*",),
    "click": ("*/cli.py", "*/*_cli.py", "broker/cli_parts.py", "handslag.py"),
    "cryptography": ("audit/*", "broker/*", "connectors/*"),
    "fastavro": ("schemas/*",),
    "fhir": ("connectors/fhir/model.py",),
    "prometheus_client": ("broker/metrics.py", "broker/gateway/operations.py"),
    "pydantic": (
        "broker/settings.py",
        "broker/engine_settings.py",
        "connectors/settings.py",
        "connectors/command*.py",
        "connectors/lost_commands.py",
        "connectors/fhir/model.py",
    ),
    "psycopg": ("broker/store/*",),
    "pydantic_settings": ("broker/settings.py", "connectors/settings.py"),
    "rich": ("*/cli.py", "connectors/*_cli.py", "handslag.py"),
    "shamir_mnemonic": ("connectors/recovery.py",),
    "sqlalchemy": ("broker/store/*",),
    "sqlite3": (
        "broker/store/*",
        "connectors/spool/*",
        "connectors/spool.py",
        "connectors/identity.py",
        "audit/trailfile.py",
    ),
}
POSIX_ONLY = {"fcntl", "grp", "posix", "pwd", "pty", "resource", "termios", "tty"}
# A pure core is handed its clock and its randomness, and knows no file and no net.
IMPURE = {"asyncio", "os", "random", "secrets", "socket", "sqlite3", "subprocess", "threading", "time", "uuid"}
PURE = ("consent/*", "audit/merkle.py", "audit/note.py", "audit/checkpoint.py", "audit/tlogproof.py", "audit/entry.py")


def imported(source):
    """Every module named by an import, lazy ones included."""
    for node in ast.walk(source):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(file):
    return file.split("/")[0]


def is_pure(file):
    return any(fnmatch(file, pattern) for pattern in PURE)


def wrongs(file, source):
    """What a file imports against the rules."""
    found = []
    for name in sorted(set(imported(source))):
        top = name.split(".")[0]
        if top in MAY or f"{top}.py" in MAY or top in {"tests", "deploy"}:
            if top != room_of(file) and top not in MAY[room_of(file)]:
                found.append(f"{file}: {top}")
        elif top in LIBRARIES or top not in sys.stdlib_module_names:
            if not any(fnmatch(file, pattern) for pattern in LIBRARIES.get(top, ())):
                found.append(f"{file}: {top}")
        elif (top in POSIX_ONLY and room_of(file) == "connectors") or (
            top in IMPURE and any(fnmatch(file, pattern) for pattern in PURE)
        ):
            found.append(f"{file}: {top}")
    return found


@pytest.mark.parametrize("room", MAY)
def test_imports_run_downwards_only(room):
    own = [file for file in files() if room_of(file) == room]
    assert own
    assert [wrong for file in own for wrong in wrongs(file, tree(file))] == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("schemas/codec.py", "import consent.terms"),
        ("consent/decide.py", "from audit import merkle"),
        ("consent/decide.py", "import time"),
        ("audit/beat.py", "def late():\n    from broker import core"),
        ("connectors/client.py", "import broker"),
        ("broker/core.py", "from connectors.link import problem"),
        ("broker/core.py", "import sqlalchemy as sa"),
        ("connectors/sending.py", "import sqlite3"),
        ("connectors/sending.py", "import fastavro"),
        ("broker/core.py", "import aiokafka"),
        ("connectors/runner.py", "import fcntl"),
        ("handslag.py", "from broker.core import Core"),
        ("broker/cli.py", "import deploy.demo"),
        ("broker/cli.py", "import tests.site"),
    ],
)
def test_the_rules_see_a_breach(file, line):
    assert wrongs(file, ast.parse(line))


def test_audit_knows_consent_only_to_re_execute():
    users = {
        file
        for file in files()
        if room_of(file) == "audit" and any(n.split(".")[0] == "consent" for n in imported(tree(file)))
    }
    assert users
    assert all(fnmatch(file, "audit/verify*.py") for file in users)


def module_of(file):
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def circles(uses):
    """Modules that reach themselves."""

    def reached(start):
        found, todo = set(), [start]
        while todo:
            new = uses.get(todo.pop(), set()) - found
            found |= new
            todo += new
        return found

    return {name for name in uses if name in reached(name)}


def test_no_module_imports_itself_in_a_circle():
    names = {module_of(file) for file in files()}
    uses = {module_of(file): set(imported(tree(file))) & names for file in files()}
    # `from broker import x` names the package as well as its module; a package's own file imports nothing.
    assert circles(uses) == set()
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == {"b", "c"}


BLOCKED = """
import importlib, json, pkgutil, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCK:
            raise ImportError(name)

BLOCK = {"sqlalchemy", "alembic", "prometheus_client", "broker"}
sys.meta_path.insert(0, Blocked())
done = ["handslag"]
import handslag
for room in ("schemas", "consent", "audit", "connectors"):
    package = importlib.import_module(room)
    for found in pkgutil.walk_packages(package.__path__, room + "."):
        importlib.import_module(found.name)
        done.append(found.name)
try:
    import broker
except ImportError:
    done.append("no broker")
print(json.dumps(done))
"""


def test_a_connector_needs_nothing_of_the_broker():
    """Every module but the broker's, imported where the broker and its libraries cannot be."""
    ran = subprocess.run(
        [sys.executable, "-c", BLOCKED], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    done = set(json.loads(ran.stdout))
    expected = {module_of(file) for file in files() if room_of(file) != "broker"} - set(ROOMS)
    assert "no broker" in done
    assert expected <= done
