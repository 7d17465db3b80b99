"""The laptop demo: a page in the browser, served from this machine only, that shows what a model forgot."""
