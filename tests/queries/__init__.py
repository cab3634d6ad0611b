"""Questions with what they must answer: one `.test` file a query."""
