"""History of releases: the reports of a folder in the order of time, and their trends."""
