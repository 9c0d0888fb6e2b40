"""Knowledge bases: files, documents, ingest and search."""
