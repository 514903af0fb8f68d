"""FHIR R4 Consent in and out of a connector: read by a model library, mapped to our commands, written of a grant."""
