"""The jobs of a user, one module each: export, record a baseline, gate, verify, evaluate, inspect, unlearn.

The only station that imports the others. `import edgeproof` gives its functions.
"""
