"""Steps of recording a baseline: what base and merged model answer, and the base in each format."""
