"""Where events go: one adapter for each kind of destination, behind `interface.Destination`."""
