"""Prompts of probes: kinds of surfaces, solved examples, carrier sentences, options, sampling."""
