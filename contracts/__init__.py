"""What passes between the stations: dataclasses, the protocols, the error tree. It imports no other station."""
