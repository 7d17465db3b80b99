"""Ways of asking that need more than a probe's own words: solved examples, carriers, second turns, options."""
