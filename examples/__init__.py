"""What `export-edge quickstart` runs on: a pack of probes and the adapter that makes SmolLM2 forget them."""
