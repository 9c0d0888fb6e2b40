"""Use cases: functions where everything is in the database, classes where another service is asked in between."""
