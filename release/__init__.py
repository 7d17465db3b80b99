"""The jobs of a user, one module each, from export and gate to verify and compare.

The only station that imports the others. `import edgeproof` gives its functions.
"""
