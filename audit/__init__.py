"""The audit trail: entries, Merkle log, checkpoints, keys that can be destroyed, and the offline verifier."""
