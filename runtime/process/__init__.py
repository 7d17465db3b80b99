"""Child process of a backend, and the protocol between it and its parent."""
