"""Steps of a gate: its inputs, what fits them, the judgement of an artifact, waivers."""
