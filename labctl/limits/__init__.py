"""Finding the limit of something: which amount to try next, what must never be tried, and the journal of it."""
