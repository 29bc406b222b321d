"""What is called in a model, and what depends on what."""
