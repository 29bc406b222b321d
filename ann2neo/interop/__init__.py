"""Recordings as the objects of other libraries, and what it takes to meet these libraries.

==================== ==================================================================================
``neo_block``        ``to_neo``, ``from_neo``: Neo Blocks
``lazy``             Neo SpikeTrains that are made when they are used
``libraries``        ``to_binned`` (Elephant), ``to_pynapple``, ``to_xarray``
``description``      all of a recording but its spikes, as text that travels in every file format
``atomic``           files that appear under their name when they are complete
==================== ==================================================================================

A method of :class:`~ann2neo.Recording` leads to each of these functions. Nothing is imported here: Neo
and its kin are slow to import.
"""
