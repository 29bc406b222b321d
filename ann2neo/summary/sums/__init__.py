"""The integer sums of a layer and of a network, which a summary adds up."""
