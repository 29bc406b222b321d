"""Where spikes go: rasters that are kept, or a summary that grows and can be checkpointed."""
