"""Stories: a run in sentences, and what we say of it. `story.py` has the language."""
