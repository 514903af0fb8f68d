"""The agency's side: sealing, spool, adapters and the public client."""
