"""Reports of a judgement: JSON, HTML, JUnit, Markdown, terminal."""
