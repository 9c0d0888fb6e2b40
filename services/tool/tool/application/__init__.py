"""Use cases: functions where everything is in the database, a class where a tool is executed in between."""
