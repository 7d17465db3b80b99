"""Runs an artifact through the probe program (android_demo/probe): on this processor, emulated, or on a device."""
