"""All SQL of kb. What is bound to an organization stays in it."""
