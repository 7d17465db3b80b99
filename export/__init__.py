"""Export: merges adapters into a checkpoint, quantizes, and writes artifacts with their manifests."""
