"""Questions to the shown files: prompts, ways of asking, the processes that answer."""
