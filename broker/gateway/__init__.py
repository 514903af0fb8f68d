"""The HTTP calls of /v1: who calls, what may come in, which method of the core answers, how a refusal looks."""
