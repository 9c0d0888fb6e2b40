"""All SQL of org. Every query is scoped to an organization; those that are not say so in their names."""
