"""The one TOML file: every key known, no secret in it, no value in an error."""

import pytest

from broker import keyfiles, settings
from schemas.errors import HandslagError

GOOD = """
origin = "exempel.invalid/audit"
url = "https://exempel.invalid:8443"
listen = "127.0.0.1:8443"
data_dir = "data"
log_key_file = "keys/log.key"
root_key_file = "keys/root.key"
supervisor_key_file = "keys/supervisor.hex"
[tls]
certificate_file = "tls/server.pem"
key_file = "tls/server.key"
client_ca_file = "tls/ca.pem"
"""
CANARY = "c4na" * 16


def loaded(tmp_path, text):
    (tmp_path / "broker.toml").write_text(text)
    return settings.load(tmp_path / "broker.toml")


def refused(tmp_path, text):
    with pytest.raises(HandslagError) as told:
        loaded(tmp_path, text)
    assert CANARY not in str(told.value)
    return told.value.code, told.value.context.get("field")


def test_paths_are_relative_to_the_file(tmp_path):
    read = loaded(tmp_path, GOOD)
    assert read.tls.key_file == tmp_path / "tls/server.key"
    assert read.database == tmp_path / "data/broker.db"
    assert (read.address, read.operations.address) == (("127.0.0.1", 8443), ("127.0.0.1", 9464))


def test_the_environment_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("ORIGIN", "other.invalid/audit")
    monkeypatch.setenv("BEAT_SECONDS", "9")
    read = loaded(tmp_path, GOOD)
    assert (read.origin, read.beat_seconds) == ("exempel.invalid/audit", 10.0)


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("bete_seconds = 1", "bete_seconds"),
        ("[operations]\nlissten = 'x'", "operations.lissten"),
        (f'"{CANARY}" = 1', "unknown key"),
        ("beat_seconds = 0", "beat_seconds"),
        ("lease_seconds = 'x'", "lease_seconds"),
        ("[operations]\nlisten = '9464'", "operations.listen"),
        ("[operations]\nlisten = '127.0.0.1:99999'", "operations.listen"),
        ("not toml", "toml"),
    ],
)
def test_an_unknown_key_or_a_wrong_value_is_refused_by_name(tmp_path, line, field):
    text = GOOD + line if line.startswith("[") else line + GOOD
    assert refused(tmp_path, text) == ("HS-SETTINGS-INVALID", field)


@pytest.mark.parametrize("url", ["http://exempel.invalid", "https://user@exempel.invalid"])
def test_only_https_without_a_login(tmp_path, url):
    assert refused(tmp_path, GOOD.replace("https://exempel.invalid:8443", url))[0] == "HS-SETTINGS-INVALID"


@pytest.mark.parametrize(
    "line",
    [
        f'root_key = "{CANARY}"',
        f'database_password = "{CANARY}"',
        f'note = "{"ab" * 32}"',
        'log_key_pem = "-----BEGIN PRIVATE KEY-----"',
        f'database = "postgresql://broker:{CANARY}@db/handslag"',
        f'[tls2]\ntoken = "{CANARY}"',
        f'words = ["-----BEGIN {CANARY}"]',
    ],
)
def test_an_inline_secret_is_refused(tmp_path, line):
    text = GOOD + line if line.startswith("[") else line + GOOD
    assert refused(tmp_path, text)[0] == "HS-SETTINGS-SECRET"


KAFKA = '{engine = "kafka", bootstrap = ["127.0.0.1:9092"], transit_key_file = "transit.key"}'


@pytest.mark.parametrize(("name", "value"), [("stream", KAFKA)])
def test_engines_that_do_not_exist_yet_are_refused(tmp_path, name, value):
    assert refused(tmp_path, f"{name} = {value}" + GOOD) == ("HS-NOT-YET", name)


@pytest.mark.parametrize("origin", ["exempel.invalid", "a b/audit", "a+b/audit", "/audit", "EXEMPEL/audit", ""])
def test_an_origin_can_stand_in_a_signed_note(tmp_path, origin):
    assert refused(tmp_path, GOOD.replace("exempel.invalid/audit", origin))[0] == "HS-SETTINGS-INVALID"


def test_a_key_file_open_to_others_is_refused(tmp_path):
    path = tmp_path / "log.key"
    keyfiles.write_new(path, keyfiles.new_log_key()[1], private=True)
    assert keyfiles.log_key(path)
    path.chmod(0o640)
    with pytest.raises(HandslagError) as told:
        keyfiles.log_key(path)
    assert (told.value.code, told.value.context["rule"]) == ("HS-SECRET-FILE", "mode")


@pytest.mark.parametrize("text", ["", "ab" * 1215, "zz" * 1216, "å" * 2432])
def test_a_key_of_another_form_is_refused(tmp_path, text):
    path = tmp_path / "supervisor.hex"
    path.write_text(text)
    with pytest.raises(HandslagError, match="HS-SECRET-FILE"):
        keyfiles.supervisor_key(path)


def test_a_file_is_never_written_twice(tmp_path):
    keyfiles.write_new(tmp_path / "key", b"1", private=True)
    with pytest.raises(HandslagError, match="HS-INIT-EXISTS"):
        keyfiles.write_new(tmp_path / "key", b"2", private=True)
    assert (tmp_path / "key").read_bytes() == b"1"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
