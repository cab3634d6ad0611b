"""Live tests on a real Kafka: they start a broker, or use the one that LEDGER_KAFKA names."""
