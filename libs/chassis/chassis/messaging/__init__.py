"""Facts between services, and work that outlives its call: outbox, consumers, jobs."""
