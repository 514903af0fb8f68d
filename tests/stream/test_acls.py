"""Grants for Kafka name the node as Kafka will, or not at all, and grant one topic and nothing else."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from broker.stream import acls
from schemas.errors import HandslagError


def certificate(*names):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(kind, value) for kind, value in names])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(subject, subject, key.public_key(), 1, now, now + timedelta(days=1))
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_a_node_is_named_as_java_names_it_the_last_part_first():
    names = [(NameOID.COUNTRY_NAME, "SE"), (NameOID.ORGANIZATION_NAME, "EXEMPEL Mäklare"), (NameOID.COMMON_NAME, "n-1")]
    assert acls.principal(certificate(*names)) == "User:CN=n-1,O=EXEMPEL Mäklare,C=SE"


@pytest.mark.parametrize(
    "names",
    [
        [],
        [(NameOID.COMMON_NAME, "a,OU=b")],
        [(NameOID.COMMON_NAME, "a+b")],
        [(NameOID.COMMON_NAME, " a")],
        [(NameOID.COMMON_NAME, "a\nb")],
        [(NameOID.COMMON_NAME, "a"), (NameOID.EMAIL_ADDRESS, "exempel@exempel.invalid")],
    ],
)
def test_a_name_that_may_be_written_in_two_ways_is_refused(names):
    with pytest.raises(HandslagError, match="HS-STREAM-PRINCIPAL"):
        acls.principal(certificate(*names))


def test_what_is_no_certificate_is_refused_by_the_name_of_its_setting():
    with pytest.raises(HandslagError) as told:
        acls.principal(b"EXEMPEL")
    assert told.value.context == {"field": "stream.certificate_file"}


def test_the_line_grants_one_topic_by_its_whole_name_and_a_shell_takes_it_as_it_is():
    line = acls.line("handslag.submissions", ["User:CN=n-1,O=EXEMPEL B"], "k1:9093", "admin.properties")
    assert line == (
        "kafka-acls.sh --bootstrap-server k1:9093 --command-config admin.properties --add"
        " '--allow-principal=User:CN=n-1,O=EXEMPEL B' --operation=Read --operation=Write --operation=Delete"
        " --operation=DescribeConfigs --topic=handslag.submissions --resource-pattern-type=literal"
    )
