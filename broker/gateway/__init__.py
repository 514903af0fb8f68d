"""The HTTP calls of /v1, one file a group."""
