"""The operator's side: gateway, decision pipeline, store, stream and sealer."""
