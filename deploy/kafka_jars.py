"""The jars of an Apache Kafka server: copied once by Maven from Maven Central, each compared with its known hash."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import click

HERE = Path(__file__).parent / "kafka-local"
DEFAULT = Path(__file__).parents[1] / "build" / "kafka-libs"
_NEEDED = {"java": "default-jre-headless", "mvn": "maven"}
_FETCH_S = 900


def java() -> str:
    """The path of the Java launcher; raises ClickException without one."""
    return _tool("java")


def expected() -> dict[str, str]:
    """File name of each jar -> its SHA-256 in hex, as `jars.sha256` lists them."""
    lines = (HERE / "jars.sha256").read_text(encoding="ascii").splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def jars(folder: Path = DEFAULT) -> list[Path]:
    """The jars in `folder`, fetched first if it does not exist; raises ClickException.

    Several processes may call this at once: one fetches, the others wait for it.
    """
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir():
                _fetch(folder)
    return sorted(folder.glob("*.jar"))


def version() -> str:
    """Which Apache Kafka the jars are."""
    name = next(name for name in expected() if name.startswith("kafka-clients-"))
    return name.removeprefix("kafka-clients-").removesuffix(".jar")


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise click.ClickException(
            f"{name} is not installed: an Apache Kafka server needs the Debian package `{_NEEDED[name]}` "
            "(apt-get install it)."
        )
    return found


def _fetch(folder: Path) -> None:
    """Copy, compare, and only then give the folder its name."""
    with tempfile.TemporaryDirectory(prefix="kafka-libs-", dir=folder.parent) as scratch:
        new = Path(scratch, "libs")
        command = [_tool("mvn"), "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={new}"]
        done = subprocess.run(  # noqa: S603 - our own command
            command, capture_output=True, text=True, timeout=_FETCH_S, check=False
        )
        if done.returncode:
            raise click.ClickException(f"Maven could not copy the jars of Apache Kafka:\n{done.stdout[-2000:]}")
        compare(new)
        new.rename(folder)


def compare(folder: Path) -> None:
    """Raise ClickException unless `folder` holds exactly the expected jars, byte for byte."""
    # INVARIANT: test_a_jar_that_is_not_the_known_one_is_refused
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.jar")}
    wrong = sorted(dict(found.items() ^ expected().items()))
    if wrong:
        raise click.ClickException(f"these jars are not those of {HERE / 'jars.sha256'}: {', '.join(wrong)}")


if __name__ == "__main__":
    count = len(jars())
    compare(DEFAULT)
    print(f"Apache Kafka {version()}: {count} jars in {DEFAULT}")
