"""What kb knows by itself: ids, errors, texts, scores. Plain Python; no database, no network, no gRPC."""
