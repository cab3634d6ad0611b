"""Everything we promise, as tests: stories, laws, histories, live tests and house rules."""
