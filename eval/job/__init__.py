"""The job of a device: all that a gate asks, written down beforehand."""
