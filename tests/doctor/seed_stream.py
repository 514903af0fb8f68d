"""Faults of a stream on Apache Kafka: they need real servers and are planted in tests/kafka/test_doctor.py."""

STREAM = frozenset({"F-STREAM-AWAY", "F-STREAM-COPIES", "F-STREAM-FILE", "F-STREAM-RIGHTS", "F-STREAM-TOPIC"})
