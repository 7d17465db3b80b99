"""Steps of asking a model: foretold time, answers kept for a stopped run, speed and memory."""
