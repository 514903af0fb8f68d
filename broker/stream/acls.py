"""Who may do what in Kafka: the rights of a broker's nodes, as lines for `kafka-acls.sh`; nobody else has any.

Pure. Kafka names a client by the subject of its certificate (`User:` and the distinguished name of RFC 2253).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from cryptography import x509

from schemas.errors import HandslagError

# What a node does with its one topic: append, read, delete what was decided, look whether the topic is as it must be.
OPERATIONS = ("Read", "Write", "Delete", "DescribeConfigs")
# Java and RFC 4514 write these alike; of others they differ, and a right for a misspelt name is a right for nobody.
_PLAIN = re.compile(r"(?:CN|OU|O|L|ST|C|DC)=[A-Za-z0-9ÅÄÖåäö._-](?:[A-Za-z0-9ÅÄÖåäö ._/-]*[A-Za-z0-9ÅÄÖåäö._/-])?")
_TOOL = "kafka-acls.sh"


def principal(certificate_pem: bytes) -> str:
    """How Kafka names the holder of a certificate; raises `HS-SETTINGS-INVALID`, `HS-SETTINGS-INVALID`."""
    try:
        subject = x509.load_pem_x509_certificate(certificate_pem).subject
    except ValueError:
        raise HandslagError("HS-SETTINGS-INVALID", field="stream.certificate_file") from None
    parts = [part.rfc4514_string() for part in reversed(subject.rdns)]
    if not parts or not all(map(_PLAIN.fullmatch, parts)):
        raise HandslagError("HS-STREAM-PRINCIPAL")
    return "User:" + ",".join(parts)


def words(topic: str, principals: Sequence[str]) -> list[str]:
    """The arguments of `kafka-acls.sh` that grant exactly `OPERATIONS` on exactly one topic."""
    # INVARIANT: test_an_agency_gets_nothing_and_a_node_gets_its_topic
    granted = [f"--allow-principal={each}" for each in principals]
    operations = [f"--operation={each}" for each in OPERATIONS]
    return ["--add", *granted, *operations, f"--topic={topic}", "--resource-pattern-type=literal"]


def line(topic: str, principals: Sequence[str], bootstrap: str, command_config: str) -> str:
    """The whole line for a shell, to be run by whoever administers Kafka."""
    fixed = [_TOOL, "--bootstrap-server", bootstrap, "--command-config", command_config]
    return shlex.join([*fixed, *words(topic, principals)])
