"""Recordings as the objects of other libraries, and what it takes to meet these libraries.

==================== ==================================================================================
``neo_block``        ``to_neo``: a recording as a Neo Block
``from_block``       ``from_neo``: a Neo Block as a recording
``lazy``             Neo SpikeTrains that are made when they are used
``libraries``        ``to_binned`` (Elephant), ``to_pynapple``, ``to_xarray``
``description``      all of a recording but its spikes, as text that travels in every file format
``quiet``            Elephant without two warnings that say nothing to its users
``atomic``           files that appear under their name when they are complete
``extras``           libraries that are not always installed, and how to install them
==================== ==================================================================================

A method of :class:`~ann2neo.Recording` leads to each of these functions. Nothing is imported here: Neo
and its kin are slow to import.
"""
