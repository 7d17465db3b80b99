"""The child process in which a backend runs, and the wire to it."""
