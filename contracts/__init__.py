"""Types shared by all stations: dataclasses, protocols, error tree. Imports no other station."""
