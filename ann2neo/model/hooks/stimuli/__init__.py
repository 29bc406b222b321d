"""How many stimuli a pass shows, and which of their steps are bins."""
