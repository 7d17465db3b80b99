"""The rules that a verdict is made by, one module each."""
