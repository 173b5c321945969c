"""All that models are told: prompts of our own, one module per task, each with a version in its fingerprint."""
