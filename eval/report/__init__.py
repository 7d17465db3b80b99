"""Reports: one judgement as JSON, HTML, JUnit, Markdown and terminal output."""
