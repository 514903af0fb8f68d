"""Words that must not stand in the product: no demonstration mode, no machine of ours, no host of a registry."""

import ast
import re

from tests.house.tree import ROOT, files, text, tree

# Every line of the product with the word, by a piece of it. The certificate authority and the supervisor's key that
# `init` makes say what they are for; nothing behaves otherwise because of it.
DEMONSTRATION = {
    "handslag.py": (
        '"demo": Mount("deploy.demo:demo"',  # the group is mounted like any other
        "handslag demo\\n",  # an example of the command
    ),
    "broker/cli.py": (
        "--dir demo-broker",
        "--config demo-broker/broker.toml",
        "without it a demonstration pair is made",
        "DEMONSTRATION certificate authority",
        '"demonstration_ca": True',
        "demonstration_supervisor",
        "is for DEMONSTRATIONS only",
    ),
    "broker/diagnosis/gather.py": ('"demo" in loaded.supervisor_key_file.name',),
    "broker/initialise.py": (
        "DEMONSTRATION_NOTE",
        "are for demonstrations",
        "demo-ca.",
        "demo-server.",
        "supervisor-demo",
        "READ-ME-demo",
        "whether the supervisor is a demo",
        "demonstration_supervisor",
        "administrators-demo",
        "demonstration administrators",
        "demo-{name}",
        "DEMONSTRATION: take them out",
    ),
    "broker/pki.py": (
        "The demonstration certificate authority",
        "DEMONSTRATION ONLY",
        "A demonstration authority",
        "Handslag demonstration",
    ),
    "broker/settings.py": ("The demonstration authority that", "for demonstrations, where one person"),
    "schemas/tables/errors.toml": ("demo behöver hela källträdet", "the demo needs the whole source tree"),
}


def product():
    """Every text file of the product: code, schemas, tables, rules."""
    rooms = [ROOT / room for room in ("schemas", "consent", "audit", "connectors", "broker")]
    data = [path for room in rooms for suffix in ("toml", "avsc", "mako") for path in room.rglob(f"*.{suffix}")]
    return [*files(), *(path.relative_to(ROOT).as_posix() for path in data)]


def test_nothing_is_different_for_a_demonstration():
    found = {
        (file, line.strip())
        for file in product()
        for line in (ROOT / file).read_text("utf-8").splitlines()
        if re.search("demo(?!graph|cra)", line, re.IGNORECASE)
    }
    assert {(f, line) for f, line in found if not any(piece in line for piece in DEMONSTRATION.get(f, ()))} == set()
    for file, pieces in DEMONSTRATION.items():
        for piece in pieces:
            assert any(f == file and piece in line for f, line in found), (file, piece)


def test_no_flag_setting_or_condition_is_named_for_a_demonstration():
    """No option, no field of a settings class, and one condition only: the doctor's warning."""
    conditions = []
    for file in files():
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("--"):
                assert "demo" not in node.value.lower()
            if isinstance(node, ast.AnnAssign) and "settings" in file:
                assert "demo" not in ast.unparse(node.target).lower()
            if isinstance(node, ast.If | ast.IfExp | ast.While) and "demo" in ast.unparse(node.test).lower():
                conditions.append((file, ast.unparse(node.test)))
    assert conditions == [("broker/cli.py", "made.demonstration_supervisor")]  # one more line printed


# Written in pieces, so that this file does not hold them.
HOSTS = re.compile(
    "|".join(
        re.escape(host)
        for host in (
            *("pypi" + ".org", "python" + "hosted", "npm" + "js.", "crates" + ".io", "docker" + ".io", "gh" + "cr.io"),
            *("quay" + ".io", "arti" + "factory", "maven" + ".org", "proxy." + "golang", "index" + "-url"),
        )
    )
)
PATHS = re.compile(
    r"(?<![\w.:/}])/(?:" + "|".join(("ho" + "me", "Us" + "ers", "wo" + "rk", "ro" + "ot", "mn" + "t")) + r")/\w"
)
DRIVE = re.compile(r"\b[A-Z]:\\\\?\w")


def tracked():
    """Text files of the whole tree but environments and what was built."""
    kinds = {".py", ".toml", ".avsc", ".json", ".md", ".lock", ".mako", ".yml", ".yaml", ".sh", ".sql", ""}
    for path in ROOT.rglob("*"):
        inside = path.relative_to(ROOT)
        if any(part.startswith((".venv", ".git")) or part in {"build", "__pycache__"} for part in inside.parts):
            continue
        if any((part.startswith(".") and part.endswith("_cache")) or part == ".hypothesis" for part in inside.parts):
            continue
        if path.is_file() and path.suffix in kinds:
            yield path


def test_no_registry_and_no_machine_of_ours_is_named():
    looked = 0
    for path in tracked():
        content = path.read_text("utf-8")
        looked += 1
        for pattern in (HOSTS, PATHS, DRIVE):
            found = pattern.search(content)
            assert found is None, f"{path.relative_to(ROOT)}: {found}"
    assert looked > 200


def test_the_patterns_see_what_they_look_for():
    assert HOSTS.search("https://pypi" + ".org/simple")
    assert PATHS.search("see /ho" + "me/anna")
    assert PATHS.search('"/wo' + 'rk/main"')
    assert not PATHS.search("https://example.test/ho" + "me/x")
    assert DRIVE.search("C:" + "\\Temp")


def test_configuration_is_read_from_files_only():
    """No environment variable changes what the product does; the terminal's language is the one thing it looks up."""
    read = [
        (file, line.strip())
        for file in files()
        for line in text(file).splitlines()
        if re.search(r"os\.environ|getenv|env_prefix|env_file", line)
    ]
    assert [file for file, _line in read] == ["handslag.py"]
    assert all(name in read[0][1] for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
