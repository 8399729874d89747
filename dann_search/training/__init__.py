"""Domain-adversarial training in pure torch: knows nothing of Ray, Optuna or the command line."""
