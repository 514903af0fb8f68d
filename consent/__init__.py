"""The consent ledger and the pure decision: no transport, no database, no clock."""
