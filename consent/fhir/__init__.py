"""What one FHIR R4 Consent says about one question: pure, and with a semantics of its own (docs/fhir-consent.md)."""
