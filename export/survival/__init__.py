"""The survival map: how much of the adapters a rounded file still holds."""
