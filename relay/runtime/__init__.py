"""Wiring and life: the only room that knows every other.

`serve` is a relay's life from configuration to exit; `relay` holds its parts together; `assembly`
builds what one configuration gives rise to; `reload` swaps it; `control` answers operators.
"""
